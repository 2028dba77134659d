#include "cli/programs.h"

const struct program programs[PROGRAM_COUNT] = {
    [PROGRAM_PROVISIONER] = {"terminals-provisioner", READER_PROVISIONER, {"provisioner"}, false},
    [PROGRAM_API] = {"terminals-api", READER_API, {"api-auth", "api-admin", "api-operations"}, true},
    [PROGRAM_GATE] = {"terminals-gate", READER_GATE, {"gate", "gate-recover"}, true},
    [PROGRAM_HAPROXY] = {"haproxy", READER_HAPROXY, {NULL}, true},
};
