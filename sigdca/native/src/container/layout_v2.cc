// Header and section table of version 2; mirrors sigdca/codec/layout_v2.py.
#include "container/layout.h"
#include "container/text.h"
#include "container/varint.h"
#include "core/bytes.h"

namespace sigdca {
namespace {

using Wide = unsigned long long;

constexpr size_t kTableAt = 10;  // behind magic and version
constexpr size_t kChecksumBytes = 4;
constexpr size_t kMinEntryBytes = 6;  // tag, length, checksum

sigdca_status read_tag(const Context &context, uint8_t tag, const char *where, Section *section) {
  const unsigned kind = tag & 15, coder = tag >> 4;
  if (kind != 0 && kind != 1 && kind != 6) {
    return context.fail(SIGDCA_SECTION_KIND, "%s: unknown kind %u, must be 0, 1 or 6", where,
                        kind);
  }
  section->kind = static_cast<SectionKind>(kind);
  section->coder = static_cast<SectionCoder>(coder);
  const bool is_layer = section->kind == SectionKind::kLayer;
  if (coder == 3 || (is_layer && (coder == 0 || coder == 2 || coder == 4))) return SIGDCA_OK;
  return context.fail(SIGDCA_SECTION_KIND, "%s: %s must have coder %s, got %u", where,
                      kind_name(section->kind),
                      is_layer ? "0, 2, 3 or 4" : "3", coder);
}

// In the order graph, metadata, layers; only layers more than once.
sigdca_status check_order(const Context &context, const Section &section, const Section &last,
                          const char *where) {
  const bool follows = section.kind > last.kind ||
                       (section.kind == last.kind && section.kind == SectionKind::kLayer);
  if (follows) return SIGDCA_OK;
  return context.fail(SIGDCA_SECTION_ORDER, "%s: %s must not follow %s", where,
                      kind_name(section.kind), kind_name(last.kind));
}

sigdca_status read_entries(const Context &context, Bytes table, Array<Section> *sections) {
  Array<Section> found;
  SIGDCA_TRY(found.allocate(context, table.size / kMinEntryBytes + 1));
  size_t count = 0;
  uint32_t num_layers = 0;
  for (; table.at < table.size; ++count) {
    Text where;
    where.add("section %zu", count);
    Section section{};
    SIGDCA_TRY(read_tag(context, table.data[table.at++], where.get(), &section));
    SIGDCA_TRY(read_varint(context, &table, where.get(), &section.bytes));
    if (table.size - table.at < kChecksumBytes) {
      return context.fail(SIGDCA_SECTION_TABLE, "%s: entry ends behind the table's %zu bytes",
                          where.get(), table.size);
    }
    section.crc32 = load<uint32_t>(table.data + table.at);
    table.at += kChecksumBytes;
    if (count > 0) SIGDCA_TRY(check_order(context, section, found[count - 1], where.get()));
    if (section.kind == SectionKind::kLayer) section.tensor = num_layers++;
    found[count] = section;
  }
  SIGDCA_TRY(sections->allocate(context, count));
  for (size_t number = 0; number < count; ++number) (*sections)[number] = found[number];
  return SIGDCA_OK;
}

}  // namespace

sigdca_status read_table_v2(const Context &context, const uint8_t *data, size_t bytes,
                            Array<Section> *sections) {
  Bytes header{data, bytes, kTableAt};
  uint32_t table_bytes = 0;
  SIGDCA_TRY(read_varint(context, &header, "header", &table_bytes));
  const uint64_t end = uint64_t{header.at} + table_bytes;
  if (end + kChecksumBytes > bytes) {
    return context.fail(SIGDCA_SECTION_TABLE,
                        "container: section table ends at byte %llu, file at %zu", Wide{end},
                        bytes);
  }
  SIGDCA_TRY(check_header(context, data, static_cast<size_t>(end)));
  SIGDCA_TRY(read_entries(context, Bytes{data + header.at, table_bytes}, sections));
  return place_sections(context, data, bytes, static_cast<size_t>(end + kChecksumBytes), sections);
}

}  // namespace sigdca
