/* SPDX-License-Identifier: MIT */
/* Types that are marked secret: what has them, contains them, or points to them. */
#include <xctx/redact.h>

#include "render_support.h"

struct key {
    unsigned char bytes[8];
};
typedef char token_text[16];
struct session {
    int number;
    struct key key;
};
struct plain {
    int number;
    struct session *session;
};

static void mark(void)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "struct key"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "token_*"), 0);
}

TEST(values_of_a_secret_type_are_redacted)
{
    static struct key key = {"secret!"};
    static struct key keys[2];
    static struct key *pointer = &key;
    static struct key **indirect = &pointer;
    static token_text text = "token";
    mark();
    EXPECT_NONE(key, XCTX_SOURCE_REDACTED);
    EXPECT_NONE(keys, XCTX_SOURCE_REDACTED);
    EXPECT_NONE(pointer, XCTX_SOURCE_REDACTED);
    EXPECT_NONE(indirect, XCTX_SOURCE_REDACTED);
    EXPECT_NONE(text, XCTX_SOURCE_REDACTED);
}

TEST(what_contains_a_secret_type_is_redacted)
{
    static struct session session = {1, {"secret!"}};
    static struct {
        int number;
        struct session sessions[2];
    } nested;
    mark();
    EXPECT_NONE(session, XCTX_SOURCE_REDACTED);
    EXPECT_NONE(nested, XCTX_SOURCE_REDACTED);
}

TEST(what_is_not_secret_is_shown)
{
    static char text[16] = "text";
    static struct plain plain = {.number = 1};
    mark();
    EXPECT_VALUE(text, "\"text\", '\\000' <repeats 11 times>");
    EXPECT_VALUE(plain, "{number = 1, session = 0x0}");
}

int main(void)
{
    return test_main("secret types");
}
