/* Kubernetes quantities: what means what, by the rules and examples of k8s.io/apimachinery/pkg/api/resource. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/quantity.h"

static void test_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t units, thousandths;
    } cases[] = {
        {"0", 0, 0},
        {"2", 2, 2000},
        {"+2", 2, 2000},
        {"-2", -2, -2000},
        {"500m", 1, 500},
        {"1500m", 2, 1500},
        {"0.5", 1, 500},
        {".5", 1, 500},
        {"1.", 1, 1000},
        {"1.5", 2, 1500},
        {"00001.50", 2, 1500},
        {"100u", 1, 1},
        {"1n", 1, 1},
        {"-1n", -1, -1},
        {"0n", 0, 0},
        {"1k", 1000, 1000000},
        {"512M", 512000000, 512000000000},
        {"1G", 1000000000, 1000000000000},
        {"3T", 3000000000000, 3000000000000000},
        {"2P", 2000000000000000, 2000000000000000000},
        {"1E", 1000000000000000000, INT64_MAX},
        {"1Ki", 1024, 1024000},
        {"512Mi", 536870912, 536870912000},
        {"4Gi", 4294967296, 4294967296000},
        {"1.5Gi", 1610612736, 1610612736000},
        {"0.1Ki", 103, 102400},
        {"2Ti", 2199023255552, 2199023255552000},
        {"1Pi", 1125899906842624, 1125899906842624000},
        {"7Ei", 8070450532247928832, INT64_MAX},
        {"8Ei", INT64_MAX, INT64_MAX},
        {"1e3", 1000, 1000000},
        {"1E3", 1000, 1000000},
        {"1e+3", 1000, 1000000},
        {"1e-3", 1, 1},
        {"1.5e2", 150, 150000},
        {"12e0", 12, 12000},
        {"1e-999999999999", 1, 1},
        {"0e999999999999", 0, 0},
        {"1e999999999999", INT64_MAX, INT64_MAX},
        {"-1e99", -INT64_MAX, -INT64_MAX},
        {"9223372036854775807", INT64_MAX, INT64_MAX},
        {"9223372036854775806", 9223372036854775806, INT64_MAX},
        {"9223372036854775.807", 9223372036854776, INT64_MAX},
        {"99999999999999999999999999999999999999999999999999", INT64_MAX, INT64_MAX},
        {"99999999999999999999999999999e-27", 100, 100000},
        {"1.00000000000000000000000000000000000000Ki", 1024, 1024000},
        {"0.00000000000000000000000000000000000001Ei", 1, 1},
        {"1.00000000000000000000000000000000000001", 2, 1001},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t units = -7;
        int64_t thousandths = -7;
        if (!quantity_units(cases[i].text, &units) || !quantity_thousandths(cases[i].text, &thousandths) ||
            units != cases[i].units || thousandths != cases[i].thousandths) {
            fail_msg("%s -> %lld units, %lld thousandths", cases[i].text, (long long)units, (long long)thousandths);
        }
    }
}

static void test_what_is_no_quantity(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",      " ",     "1 ",   " 1",        "one",
        "-",     "+",     ".",    "--1",       "1..2",
        "1.2.3", "0x10",  "1,5",  "1K",        "1ki",
        "1KI",   "1mi",   "1Mib", "1MB",       "1B",
        "1b",    "1e",    "1e+",  "1e-",       "1e3m",
        "1e1.5", "1mm",   "1i",   "1Mi ",      "1 Mi",
        "Mi",    "m",     "1\n",  "1\xc2\xb5", "inf",
        "NaN",   "1_000", "1e 3", "1ee3",      "1234567890123456789012345678901234567890123456789012345678901234567890",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        if (quantity_units(cases[i], &value) || quantity_thousandths(cases[i], &value)) {
            fail_msg("`%s` passed for %lld", cases[i], (long long)value);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_what_is_no_quantity),
    };
    return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
