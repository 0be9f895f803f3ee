# Cortex-A57 (ARMv8.0-A): the CPU of an Nvidia Jetson TX2, beside its Denver cores.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# No outline atomics: they need a newer libgcc than JetPack's, and the A57 has no LSE to choose.
set(CMAKE_C_FLAGS_INIT "-mcpu=cortex-a57 -mno-outline-atomics")
set(CMAKE_CXX_FLAGS_INIT "-mcpu=cortex-a57 -mno-outline-atomics")
set(SIGDCA_OLD_GLIBC ON CACHE BOOL "JetPack 4 has glibc 2.27")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
