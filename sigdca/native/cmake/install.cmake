# What is installed where: into a wheel, or below a prefix.
include(GNUInstallDirs)

if(SKBUILD)  # the header is in the package's folder already
  set(package sigdca/native)
  if(SIGDCA_SHARED)  # wheels hold no links
    install(FILES $<TARGET_FILE:sigdca_shared> DESTINATION ${package}/lib
            RENAME libsigdca.so)
  endif()
  if(SIGDCA_CODEC AND SIGDCA_SHARED)
    install(FILES $<TARGET_FILE:sigdca_codec_shared> DESTINATION ${package}/lib
            RENAME libsigdca-codec.so)
  endif()
  if(SIGDCA_DCA_RUN)
    install(TARGETS dca-run RUNTIME DESTINATION ${package}/bin)
  endif()
  # Those of other machines, which `make native-programs` builds, for emulated legs.
  install(DIRECTORY bin/ DESTINATION ${package}/bin USE_SOURCE_PERMISSIONS OPTIONAL
          FILES_MATCHING PATTERN "dca-run-*")
  return()
endif()

install(FILES include/sigdca.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS sigdca_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(SIGDCA_SHARED)
  install(TARGETS sigdca_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(SIGDCA_DCA_RUN)
  install(TARGETS dca-run RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
# From its own folder, for a package may be unpacked anywhere.
file(RELATIVE_PATH SIGDCA_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/sigdca.pc.in sigdca.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sigdca.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/sigdca/examples)
