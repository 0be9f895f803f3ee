// Header and section table: what lies where in a container; mirrors sigdca/codec/layout.py.
#pragma once

#include "container/model.h"

namespace sigdca {

// A container's first bytes.
constexpr uint8_t kMagic[8] = {0x89, 'D', 'C', 'A', '\r', '\n', 0x1A, '\n'};

// Reads and checks header and section table; no section's content is looked at.
sigdca_status read_table(const Context &context, const uint8_t *data, size_t bytes,
                         unsigned *version, Array<Section> *sections);

// The same of version 2 (layout_v2.cc).
sigdca_status read_table_v2(const Context &context, const uint8_t *data, size_t bytes,
                            Array<Section> *sections);

// Whether header and table, up to byte `end`, give the checksum that lies there.
sigdca_status check_header(const Context &context, const uint8_t *data, size_t end);

// Where each section lies: one behind the other from `begin` on, to the file's end.
sigdca_status place_sections(const Context &context, const uint8_t *data, size_t bytes,
                             size_t begin, Array<Section> *sections);

inline bool is_of_file(SectionKind kind) { return kind <= SectionKind::kMetadata; }

// Whether the section gives its CRC-32; `where` opens the message.
sigdca_status check_section(const Context &context, const Section &section, const char *where);

}  // namespace sigdca
