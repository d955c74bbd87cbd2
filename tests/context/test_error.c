/* SPDX-License-Identifier: MIT */
/* The version and the texts of errors. */
#include "../support/test.h"

TEST(version_is_that_of_the_headers)
{
    char text[32];
    snprintf(text, sizeof(text), "%d.%d.%d", XCTX_VERSION_MAJOR, XCTX_VERSION_MINOR, XCTX_VERSION_PATCH);
    assert_string_equal(xctx_version(), text);
}

static const int errors[] = {EINVAL, EBUSY,  EPERM,   EALREADY, EXDEV, ENOMEM,    ENOSPC,     EAGAIN, EBADMSG, EFAULT,
                             EFBIG,  ENOENT, ENODATA, ENOEXEC,  ESRCH, ETIMEDOUT, EADDRINUSE, EACCES, EPIPE,   EIO};

TEST(strerror_knows_every_error_that_a_call_returns)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        assert_non_null(xctx_strerror(-errors[i]));
        assert_string_not_equal(xctx_strerror(-errors[i]), "unknown error");
        assert_string_not_equal(xctx_strerror(-errors[i]), "success");
    }
}

TEST(strerror_has_a_text_of_its_own_for_each_error)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(xctx_strerror(-errors[i]), xctx_strerror(-errors[j]));
    }
}

TEST(strerror_understands_positive_numbers)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        assert_string_equal(xctx_strerror(errors[i]), xctx_strerror(-errors[i]));
}

TEST(strerror_of_0_is_success)
{
    assert_string_equal(xctx_strerror(0), "success");
}

TEST(strerror_of_what_no_call_returns_is_unknown_error)
{
    assert_string_equal(xctx_strerror(-99999), "unknown error");
    assert_string_equal(xctx_strerror(INT32_MIN), "unknown error");
    assert_string_equal(xctx_strerror(INT32_MAX), "unknown error");
}

TEST(strerror_texts_have_no_final_period)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        const char *text = xctx_strerror(-errors[i]);
        assert_true(strlen(text) > 0);
        assert_int_not_equal(text[strlen(text) - 1], '.');
    }
}

int main(void)
{
    return test_main("version and errors");
}
