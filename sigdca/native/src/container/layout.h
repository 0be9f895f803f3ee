// Header and section table: what lies where in a container; mirrors sigdca/codec/layout.py.
#pragma once

#include "container/model.h"

namespace sigdca {

// Reads and checks header and section table; no section's content is looked at.
sigdca_status read_table(const Context &context, const uint8_t *data, size_t bytes,
                         Array<Section> *sections);

inline bool is_of_file(SectionKind kind) { return kind <= SectionKind::kMetadata; }

// Whether the section gives its CRC-32; `where` opens the message.
sigdca_status check_section(const Context &context, const Section &section, const char *where);

}  // namespace sigdca
