#include "container/layout.h"

#include "container/text.h"
#include "container/varint.h"
#include "core/bytes.h"
#include "core/crc32.h"

namespace sigdca {
namespace {

constexpr size_t kVersionEnd = 10;
constexpr size_t kHeaderBytes = 20;  // magic, version, sections, file bytes, table bytes
constexpr size_t kChecksumBytes = 4;
constexpr size_t kMinFileBytes = kHeaderBytes + kChecksumBytes;
constexpr size_t kMinEntryBytes = 6;  // tag, length, checksum
constexpr uint8_t kLastKind = 5;

using Wide = unsigned long long;

Text hex(const uint8_t *data, size_t bytes) {
  Text text;
  for (size_t index = 0; index < bytes; ++index)
    text.add(index == 0 ? "%02x" : " %02x", data[index]);
  return text;
}

Text label(const Section &section) {
  Text text;
  text.add("%s", kind_name(section.kind));
  if (!is_of_file(section.kind)) text.add(" of tensor %u", section.tensor);
  return text;
}

// Sections stand in ascending order of this: the file's own first, then by tensor and kind.
uint64_t place(const Section &section) {
  const uint64_t owner = is_of_file(section.kind) ? 0 : uint64_t{section.tensor} + 1;
  return owner << 4 | static_cast<uint8_t>(section.kind);
}

sigdca_status check_magic(const Context &context, const uint8_t *data, size_t bytes) {
  const size_t there = bytes < sizeof kMagic ? bytes : sizeof kMagic;
  if (there > 0 && memcmp(data, kMagic, there) == 0) return SIGDCA_OK;
  return context.fail(SIGDCA_MAGIC, "container: begins with %s, must with %s",
                      there > 0 ? hex(data, there).get() : "nothing",
                      hex(kMagic, sizeof kMagic).get());
}

sigdca_status read_tag(const Context &context, uint8_t tag, const char *where, SectionKind *kind,
                       SectionCoder *coder) {
  const uint8_t number = tag & 15;
  if (number > kLastKind) {
    return context.fail(SIGDCA_SECTION_KIND, "%s: unknown kind %u, the last known is %u", where,
                        number, kLastKind);
  }
  *kind = static_cast<SectionKind>(number);
  const bool coded = *kind == SectionKind::kIndices || *kind == SectionKind::kGaps;
  *coder = coded ? SectionCoder::kHuffman : SectionCoder::kRaw;
  if (tag >> 4 != (coded ? 1 : 0)) {
    return context.fail(SIGDCA_SECTION_KIND, "%s: %s must have coder %d, got %d", where,
                        kind_name(*kind), coded ? 1 : 0, tag >> 4);
  }
  return SIGDCA_OK;
}

sigdca_status read_entry(const Context &context, Bytes *table, const char *where,
                         Section *section) {
  *section = Section{};
  SIGDCA_TRY(read_tag(context, table->data[table->at], where, &section->kind, &section->coder));
  ++table->at;
  if (!is_of_file(section->kind)) SIGDCA_TRY(read_varint(context, table, where, &section->tensor));
  SIGDCA_TRY(read_varint(context, table, where, &section->bytes));
  if (table->size - table->at < kChecksumBytes) {
    return context.fail(SIGDCA_SECTION_TABLE, "%s: entry ends behind the table's %zu bytes", where,
                        table->size);
  }
  section->crc32 = load<uint32_t>(table->data + table->at);
  table->at += kChecksumBytes;
  return SIGDCA_OK;
}

sigdca_status read_entries(const Context &context, Bytes table, size_t num_sections,
                           Array<Section> *sections) {
  // No more than the table has room for: what is promised beyond that is found missing.
  const size_t room = table.size / kMinEntryBytes;
  SIGDCA_TRY(sections->allocate(context, num_sections < room ? num_sections : room));
  for (size_t number = 0; number < num_sections; ++number) {
    if (table.at == table.size) {
      return context.fail(SIGDCA_SECTION_TABLE,
                          "container: table ends after %zu sections, header promises %zu", number,
                          num_sections);
    }
    Text where;
    where.add("section %zu", number);
    Section section;
    SIGDCA_TRY(read_entry(context, &table, where.get(), &section));
    if (number > 0 && place(section) <= place((*sections)[number - 1])) {
      return context.fail(SIGDCA_SECTION_ORDER, "%s: %s must not follow %s", where.get(),
                          label(section).get(), label((*sections)[number - 1]).get());
    }
    (*sections)[number] = section;
  }
  if (table.at == table.size) return SIGDCA_OK;
  return context.fail(SIGDCA_SECTION_TABLE,
                      "container: table goes on to byte %zu, its %zu sections to %zu", table.size,
                      num_sections, table.at);
}

sigdca_status read_table_v1(const Context &context, const uint8_t *data, size_t bytes,
                            Array<Section> *sections) {
  if (bytes < kMinFileBytes) {
    return context.fail(SIGDCA_FILE_LENGTH, "container: has %zu bytes, a header alone has %zu",
                        bytes, kMinFileBytes);
  }
  const size_t num_sections = load<uint16_t>(data + 10);
  const uint32_t total = load<uint32_t>(data + 12);
  if (total != bytes) {
    return context.fail(SIGDCA_FILE_LENGTH, "container: has %zu bytes, its header promises %u",
                        bytes, total);
  }
  const uint64_t end = kHeaderBytes + uint64_t{load<uint32_t>(data + 16)};
  if (end + kChecksumBytes > total) {
    return context.fail(SIGDCA_SECTION_TABLE,
                        "container: section table ends at byte %llu, file at %u", Wide{end},
                        total);
  }
  SIGDCA_TRY(check_header(context, data, static_cast<size_t>(end)));
  const Bytes table{data + kHeaderBytes, static_cast<size_t>(end - kHeaderBytes)};
  SIGDCA_TRY(read_entries(context, table, num_sections, sections));
  return place_sections(context, data, bytes, static_cast<size_t>(end + kChecksumBytes), sections);
}

}  // namespace

const char *kind_name(SectionKind kind) {
  static const char *const kNames[] = {"graph", "metadata", "codebook", "indices",
                                       "gaps",  "dense",    "layer"};
  return kNames[static_cast<uint8_t>(kind)];
}

sigdca_status check_header(const Context &context, const uint8_t *data, size_t end) {
  const uint32_t expected = load<uint32_t>(data + end);
  const uint32_t got = crc32(data, end);
  if (got == expected) return SIGDCA_OK;
  return context.fail(SIGDCA_HEADER_CHECKSUM,
                      "container: header's checksum is %08x, must be %08x", got, expected);
}

sigdca_status place_sections(const Context &context, const uint8_t *data, size_t bytes,
                             size_t begin, Array<Section> *sections) {
  uint64_t reach = begin;
  for (const Section &section : *sections) reach += section.bytes;
  if (reach != bytes) {
    return context.fail(SIGDCA_SECTION_LENGTH, "container: sections end at byte %llu, file at %zu",
                        Wide{reach}, bytes);
  }
  const uint8_t *at = data + begin;
  for (Section &section : *sections) {
    section.data = at;
    at += section.bytes;
  }
  return SIGDCA_OK;
}

sigdca_status read_table(const Context &context, const uint8_t *data, size_t bytes,
                         unsigned *version, Array<Section> *sections) {
  SIGDCA_TRY(check_magic(context, data, bytes));
  if (bytes < kVersionEnd) {
    return context.fail(SIGDCA_FILE_LENGTH, "container: has %zu bytes, its version ends at byte %zu",
                        bytes, kVersionEnd);
  }
  *version = load<uint16_t>(data + sizeof kMagic);
  switch (*version) {
    case 1: return read_table_v1(context, data, bytes, sections);
    case 2: return read_table_v2(context, data, bytes, sections);
    default:
      return context.fail(SIGDCA_VERSION,
                          "container: is of version %u, this reader knows 1 and 2", *version);
  }
}

sigdca_status check_section(const Context &context, const Section &section, const char *where) {
  const uint32_t got = crc32(section.data, section.bytes);
  if (got == section.crc32) return SIGDCA_OK;
  return context.fail(SIGDCA_SECTION_CHECKSUM, "%s section's checksum is %08x, must be %08x",
                      where, got, section.crc32);
}

}  // namespace sigdca
