# Goldmont (x86-64-v2: SSE4.2, no AVX): Intel Atom x5-E3940 and its family.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
# A machine's own compiler need not have its kind in its name.
if(CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(own_c gcc)
  set(own_cxx g++)
endif()
find_program(CMAKE_C_COMPILER NAMES x86_64-linux-gnu-gcc ${own_c} REQUIRED)
find_program(CMAKE_CXX_COMPILER NAMES x86_64-linux-gnu-g++ ${own_cxx} REQUIRED)
set(CMAKE_C_FLAGS_INIT "-march=x86-64-v2 -mtune=goldmont")
set(CMAKE_CXX_FLAGS_INIT "-march=x86-64-v2 -mtune=goldmont")
set(SIGDCA_ISAS sse42 CACHE STRING "no board of this kind has more")
set(SIGDCA_OLD_GLIBC ON CACHE BOOL "boards of this kind run old systems")
