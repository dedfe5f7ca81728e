"""What the sources of a C or C++ program ask of the compiler and the linker, beside what each program gets.

The run's environment may name more: CFLAGS (or CXXFLAGS), LDLIBS, and SANITIZE (`address`, `undefined` or
`address,undefined`). Beside that, a library is linked where a source includes its header, and OpenMP where a
source has its pragmas.
"""

import os

from patterns import MULTILINE, compiled

MAX_READ = 1 << 20  # bytes of a source that are looked at
LIBRARIES = (
    (r"(?:n?curses|panel|menu|form)\w*\.h", "-lpanel -lmenu -lform -lncursesw -ltinfo"),
    (r"readline/\w+\.h", "-lreadline"),
    (r"gmpxx\.h", "-lgmpxx -lgmp"),
    (r"gmp\.h", "-lgmp"),
    (r"zlib\.h", "-lz"),
    (r"openssl/\w+\.h", "-lssl -lcrypto"),
    (r"curl/\w+\.h", "-lcurl"),
    (r"catch2/\w+\.hpp", "-lCatch2Main -lCatch2"),
    # Boost; the others are headers only.
    (r"boost/coroutine\b", "-lboost_coroutine -lboost_context"),
    (r"boost/(?:context|coroutine2|asio/spawn)\b", "-lboost_context"),
    (r"boost/fiber\b", "-lboost_fiber -lboost_context -lboost_filesystem"),
    (r"boost/thread\b", "-lboost_thread -lboost_chrono -lboost_atomic"),
    (r"boost/timer\b", "-lboost_timer -lboost_chrono"),
    (r"boost/chrono\b", "-lboost_chrono"),
    (r"boost/json\b", "-lboost_json -lboost_container"),
    (r"boost/container\b", "-lboost_container"),
    (r"boost/contract\b", "-lboost_contract"),
    (r"boost/date_time\b", "-lboost_date_time"),
    (r"boost/filesystem\b", "-lboost_filesystem -lboost_atomic"),
    (r"boost/graph\b", "-lboost_graph"),
    (r"boost/iostreams\b", "-lboost_iostreams -lz"),
    (r"boost/nowide\b", "-lboost_nowide"),
    (r"boost/process\b", "-lboost_filesystem -lboost_atomic"),
    (r"boost/program_options\b", "-lboost_program_options"),
    (r"boost/random\b", "-lboost_random"),
    (r"boost/(?:serialization|archive)\b", "-lboost_wserialization -lboost_serialization"),
    (r"boost/test/(?!included)", "-lboost_unit_test_framework"),
    (r"boost/url\b", "-lboost_url"),
)
INCLUDING = r'^[ \t]*#[ \t]*include[ \t]*[<"]'
INCLUDED = [(compiled(INCLUDING + header, MULTILINE), names.split()) for header, names in LIBRARIES]
OPENMP = compiled(r"^[ \t]*#[ \t]*pragma[ \t]+omp\b", MULTILINE)
SANITIZERS = {"address", "undefined"}
# Elsewhere a project may bring Boost's headers with it, for what needs no library.
WITH_BOOST = os.path.isdir("/usr/include/boost")


def read(path):
    """The beginning of a source as Latin-1; empty where it cannot be read."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.read(MAX_READ)
    except OSError:
        return ""


def wanted(texts, environment, variable):
    """(flags for the compiler, libraries for the linker). `variable`: CFLAGS or CXXFLAGS.

    Raises ValueError where SANITIZE names something else.
    """
    flags = environment.get(variable, "").split()
    if sanitize := environment.get("SANITIZE", ""):
        if not SANITIZERS.issuperset(sanitize.split(",")):
            raise ValueError(f"SANITIZE is {sanitize!r}; write address, undefined, or address,undefined")
        flags += [f"-fsanitize={sanitize}", "-g", "-fno-omit-frame-pointer"]
    if any(map(OPENMP.search, texts)):
        flags.append("-fopenmp")
    libraries = ["-lm"]
    for header, names in INCLUDED:
        if any(map(header.search, texts)) and (WITH_BOOST or "boost_" not in names[0]):
            libraries += [name for name in names if name not in libraries]
    return flags, libraries + environment.get("LDLIBS", "").split()
