/* SPDX-License-Identifier: MIT */
/*
 * Reading and changing the values of variables in the current context.
 *
 * Reading follows the slot's map: no claim, as only this thread changes the root of a context that it has entered.
 * Changing puts a word into the map if only the current context refers to it; else a new map is built on the side and
 * put in the place of the old one. Either happens with the right to change (begin_change()), after everything that can
 * fail; operations of variables are called before it (retain) and after it (release), never within.
 *
 * Setting has ways of different speed, each of which takes what it can and leaves the rest to the next: put_quickly(),
 * a plain word in an array; put_in_place(), another word that can be changed alone; set_counted(), a cell in any map;
 * set_copying(), the first set in a copy; set_slowly(), everything.
 *
 * Memory orders. Loads of a claim within the window are relaxed (record.h). A map is changed in place only after an
 * acquire load of its count (map_is_ours()), whose partners are the releasing subtractions in xctx__map_unref(),
 * xctx__map_unpin() and xctx__leaves_revoke(). The words of a map that is not shared are read by its context's thread,
 * and by whoever has that context locked.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <xctx/follow.h>

#include "fibers.h"
#include "follow.h"
#include "trie.h"
#include "var_internal.h"

/* Numbers that memory which is no token is unlikely to hold. */
enum token_state {
    TOKEN_SET = 0x746f6b65,
    TOKEN_KEPT = 0x6b657074, /* set, and its reference to the old value is a fiber's: fibers.h */
    TOKEN_USED = 0x75736564,
};

/* ---- reading ---- */

static inline void *value_of(xctx_var *var, void *word)
{
    if (XCTX__UNLIKELY(word == XCTX__ABSENT))
        return var->options_.initial;
    return XCTX__UNLIKELY(xctx__var_flags(var) & VAR_CELL) ? ((struct cell *)word)->value : word;
}

_Static_assert((int)VAR_CELL == (int)XCTX__VAR_CELL, "inline.h");
_Static_assert(offsetof(struct slot, root) == 0, "inline.h");

void *xctx__var_get_slowly(xctx_var *var)
{
    struct slot *slot = &xctx__slot;

    xctx__follow(slot);
    return value_of(var, xctx__map_get(xctx__slot_map(slot), xctx__var_id(var)));
}

/* For those who do not have it inline. */
void *xctx_var_get(xctx_var *var)
{
    const struct map *map = xctx__slot.root;
    uint32_t id = xctx__var_id(var);

    return XCTX__LIKELY(id < map->limit) ? value_of(var, map->words[id]) : xctx__var_get_slowly(var);
}

int xctx_var_find(xctx_var *var, void **ret_value)
{
    if (!var)
        return -EINVAL;
    struct slot *slot = &xctx__slot;
    xctx__follow(slot);
    void *word = xctx__map_get(xctx__slot_map(slot), xctx__var_id(var));
    if (word == XCTX__ABSENT && !var->options_.initial)
        return 0;
    if (ret_value)
        *ret_value = word == XCTX__ABSENT ? var->options_.initial : xctx__var_unwrap(var, word);
    return 1;
}

int xctx_lookup(xctx_context *context, xctx_var *var, void **ret_value)
{
    struct slot *slot = &xctx__slot;
    struct record *record = NULL;
    uintptr_t claim = 0;

    if (!context || !var)
        return -EINVAL;
    bool current = context == slot->current;
    if (!current) {
        record = xctx__record_borrow(slot);
        claim = xctx__claim_lock(context, record);
    }
    void *word = xctx__map_get(context->root, xctx__var_id(var));
    void *value = word == XCTX__ABSENT ? NULL : xctx__var_unwrap(var, word);
    if (!current) {
        xctx__claim_unlock(context, claim);
        xctx__record_give_back(record);
    }
    if (word == XCTX__ABSENT)
        return 0;
    if (ret_value)
        *ret_value = value;
    return 1;
}

/* ---- changing ---- */

/* The right to change the current context: in the window, or with the claim locked. */
static inline bool begin_change(xctx_context *context, struct record *record)
{
    xctx__window_open(record, context);
    if (XCTX__LIKELY(atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD)))
        return true;
    xctx__window_close(record);
    xctx__claim_lock(context, record);
    return false;
}

static inline void end_change(xctx_context *context, struct record *record, bool in_window)
{
    if (XCTX__LIKELY(in_window))
        xctx__window_close(record);
    else
        xctx__claim_unlock_entered(context, record);
}

/* Whether nobody but the current context refers to its map, which may then be changed. Acquire: others' reads of it
   come before our writes. Calls nothing: false also if a ready map stands in the way. */
static inline bool map_is_ours(const struct slot *slot, const xctx_context *context)
{
    int64_t refs = atomic_load_explicit(&context->root->refs, memory_order_acquire);

    if (XCTX__UNLIKELY(slot->pin == context)) {
        if (slot->ready)
            return false;
        refs += (int64_t)(slot->pin_copied - slot->pin_dropped);
    }
    return refs + context->owed == 1;
}

/* One binding more or less. A count that has reached its end stays there: the map is then copied for every copy until
   the context is entered again. */
static inline uint16_t lets_with(uint16_t lets, int change)
{
    uint16_t changed = change > 0 ? 1 : 0;

    if (change == 0)
        return lets;
    /* The first binding, and the end of it: what is stored must not wait for what was loaded, so the compiler must not
       see that this is the sum. */
    if (XCTX__LIKELY(lets == 1 - changed)) {
        __asm__("" : "+r"(changed));
        return changed;
    }
    return lets == UINT16_MAX ? lets : (uint16_t)(lets + change);
}

static inline bool has_leaves(const xctx_context *context)
{
    const struct extra *extra = xctx__extra(context);

    return extra && extra->leaves;
}

void xctx__context_replace_map(struct slot *slot, xctx_context *context, struct map *map, int lets)
{
    struct map *old = context->root;
    struct map *ready = NULL;

    if (slot->pin == context)
        xctx__pin_fold(slot);
    int64_t owed = context->owed;
    bool in_window = begin_change(context, slot->record);
    if (in_window && has_leaves(context)) {
        xctx__window_close(slot->record);
        xctx__claim_lock(context, slot->record);
        in_window = false;
    }
    if (xctx__extra(context))
        ready = xctx__leaves_revoke(context);
    context->root = map;
    context->lets = lets_with(context->lets, lets);
    end_change(context, slot->record, in_window);
    context->owed = 0;
    xctx__slot_show(slot);
    xctx__ready_free(ready);
    xctx__map_unpin(slot, old, owed);
}

/*
 * Puts an entry into the current context, taking the reference in it unless that fails. Gives a reference to the old
 * word to the caller. `lets` is added to the number of open bindings at the same moment.
 * 0 or -ENOMEM.
 */
static int store(struct slot *slot, xctx_context *context, xctx_var *var, const struct entry *entry, int lets,
                 void **ret_old)
{
    /* Copies can no longer simply share the map (copy_current() in context.c). */
    if ((lets > 0 || entry->flags & MAP_FLOWS) && slot->pin == context)
        xctx__pin_fold(slot);
    if (slot->pin == context && slot->ready)
        xctx__ready_drop(slot); /* it would no longer equal the map */
    bool in_window = begin_change(context, slot->record);
    bool in_place = map_is_ours(slot, context) && xctx__map_has_room(context->root, entry->id);
    if (in_place) {
        *ret_old = xctx__map_put(context->root, entry);
        context->lets = lets_with(context->lets, lets);
    }
    end_change(context, slot->record, in_window);
    if (in_place)
        return 0;
    struct map *map = xctx__ready_with(slot, context->root, entry);
    if (!map)
        map = xctx__map_with(context->root, entry);
    if (!map)
        return -ENOMEM;
    void *old = xctx__map_get(context->root, entry->id);
    xctx__var_ref_word(var, old);
    *ret_old = old;
    xctx__context_replace_map(slot, context, map, lets);
    return 0;
}

static inline void token_init(xctx_token *token, xctx_var *var, void *old, const xctx_context *context)
{
    token->var_ = var;
    token->context_ = context->serial;
    token->old_ = old;
    token->state_ = TOKEN_SET;
}

static void token_create(xctx_token *token, xctx_var *var, void *old, struct slot *slot, xctx_context *context)
{
    if (context->serial == 0)
        context->serial = xctx__record_serial(slot->record);
    token_init(token, var, old, context);
}

/* What is done with the old word of a set in the current context: kept for the token, or given back. */
static void finish_set(struct slot *slot, xctx_var *var, void *old, xctx_token *ret_token)
{
    if (!ret_token) {
        xctx__var_unref_word(var, old);
        return;
    }
    token_create(ret_token, var, old, slot, slot->current);
    if (XCTX__UNLIKELY(slot->fiber != NULL) && old != XCTX__ABSENT && xctx__var_flags(var) & VAR_CELL &&
        xctx__token_is_kept(slot, ret_token)) {
        ret_token->state_ = TOKEN_KEPT;
        xctx__token_keep(slot, ret_token, old);
    }
}

/* Before a set whose token may come to hold a reference. 0 or -ENOMEM. */
static int ready_token(struct slot *slot, xctx_var *var, const xctx_token *token)
{
    if (XCTX__LIKELY(!slot->fiber) || !token)
        return 0;
    bool kept = xctx__var_flags(var) & VAR_CELL && xctx__token_is_kept(slot, token);
    return kept ? xctx__token_reserve(slot) : 0;
}

/* Any variable, any map. */
static __attribute__((noinline)) int set_slowly(xctx_var *var, void *value, xctx_token *ret_token, int lets)
{
    struct slot *slot = &xctx__slot;
    struct entry entry;
    void *old;

    if (!var || value == XCTX__ABSENT)
        return -EINVAL;
    int error = xctx__var_number(var);
    if (error)
        return error;
    xctx__follow(slot);
    const xctx_context *before = slot->current;
    if (!xctx__context_ensure(slot))
        return -ENOMEM;
    entry.id = xctx__var_id(var);
    entry.flags = xctx__var_map_flags(var);
    entry.is_cell = xctx__var_flags(var) & VAR_CELL;
    error = xctx__var_wrap(var, var->options_.retain, value, &entry.word);
    if (error) {
        xctx__context_unensure(slot, before);
        return error;
    }
    /* Only now: `retain` may have entered and left contexts, and made tokens. */
    error = ready_token(slot, var, ret_token);
    xctx_context *context = error ? NULL : xctx__context_ensure(slot);
    error = !context ? -ENOMEM : store(slot, context, var, &entry, lets, &old);
    if (error) {
        xctx__var_unref_word(var, entry.word);
        xctx__context_unensure(slot, before);
        return error;
    }
    finish_set(slot, var, old, ret_token);
    if (lets == 0)
        xctx__follow_changed(slot);
    return 0;
}

/* The quick way, for a variable without operations in the array of a map that is only the current context's: puts
   `word`, gives the old one. False: not possible. Calls nothing, as almost every set comes here. */
static inline bool put_quickly(struct slot *slot, xctx_var *var, void *word, int lets, void **ret_old)
{
    xctx_context *context = slot->current;
    struct record *record = slot->record;
    uint32_t id = xctx__var_id(var);

    if (XCTX__UNLIKELY(!(xctx__var_flags(var) & VAR_PLAIN) || id >= slot->root->limit))
        return false;
    if (lets > 0 && XCTX__UNLIKELY(slot->pin == context))
        return false;
    xctx__window_open(record, context);
    bool ours = atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD) &&
                map_is_ours(slot, context);
    if (XCTX__LIKELY(ours)) {
        *ret_old = context->root->words[id];
        context->root->words[id] = word;
        if (lets)
            context->lets = lets_with(context->lets, lets);
    }
    xctx__window_close(record);
    return ours;
}

/* Where the word of a variable is, if it can be changed without anything else in the map; else NULL. */
static void **word_of(struct map *map, xctx_var *var, uint32_t id)
{
    uint32_t flags = xctx__var_flags(var);

    /* For a cell the map must have noted that there is one. */
    if (id < map->limit && (flags & VAR_CELL_ONLY) == VAR_CELL && xctx__map_is_cell(map, id))
        return &map->words[id];
    return id >= map->limit && flags & VAR_PLAIN && map->rest ? xctx__trie_private(map->rest, id) : NULL;
}

/* The same for a variable whose words are cells, and for a large number. */
static __attribute__((noinline)) bool put_in_place(struct slot *slot, xctx_var *var, void *word, void **ret_old)
{
    xctx_context *context = slot->current;
    struct record *record = slot->record;
    void **place = NULL;

    xctx__window_open(record, context);
    if (atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD) &&
        map_is_ours(slot, context))
        place = word_of(context->root, var, xctx__var_id(var));
    if (place) {
        *ret_old = *place;
        *place = word;
    }
    xctx__window_close(record);
    return place != NULL;
}

/* Whether tokens can be made for the current context without giving it a number first. */
static inline bool has_serial(const struct slot *slot)
{
    return slot->current && slot->current->serial;
}

/* A variable that has a number and nothing special but that its words are cells. There is a current context. */
static __attribute__((noinline)) int set_counted(xctx_var *var, void *value, xctx_token *ret_token)
{
    struct slot *slot = &xctx__slot;
    struct entry entry = {.id = xctx__var_id(var), .is_cell = true};
    void *old;

    int error = xctx__var_wrap(var, var->options_.retain, value, &entry.word);
    if (error)
        return error;
    /* `retain` may have entered and left contexts, and made tokens. */
    error = ready_token(slot, var, ret_token);
    xctx_context *context = error ? NULL : xctx__context_ensure(slot);
    if (!context || !put_in_place(slot, var, entry.word, &old)) {
        error = context ? store(slot, context, var, &entry, 0, &old) : -ENOMEM;
        if (error) {
            xctx__var_unref_word(var, entry.word);
            return error;
        }
    }
    finish_set(slot, var, old, ret_token);
    return 0;
}

/* The first set of a variable without operations in a fresh copy of a context around it, whose map is nothing but an
   array and pinned. Nobody else needs to know that the copy gives its reference to that map up. There is a current
   context. */
static inline int set_copying(xctx_var *var, void *value, xctx_token *ret_token)
{
    struct slot *slot = &xctx__slot;
    struct record *record = slot->record;
    xctx_context *context = slot->current;
    struct map *map = slot->root;
    uint32_t id = xctx__var_id(var);

    if (!(xctx__var_flags(var) & VAR_PLAIN) || id >= map->limit || slot->pin_map != map || context->owed ||
        !xctx__map_is_plain(map) || !record->free_maps[xctx__map_size(map->limit)])
        return set_slowly(var, value, ret_token, 0);
    struct map *copy = xctx__map_take_spare(record, map->limit);
    atomic_init(&copy->refs, 1);
    copy->flags = map->flags;
    memset(copy->cells, 0, sizeof(copy->cells));
    copy->rest = NULL;
    xctx__map_copy_words(copy, map);
    copy->words[id] = value;
    bool in_window = begin_change(context, record);
    bool leaves = has_leaves(context);
    if (XCTX__LIKELY(!leaves))
        context->root = copy;
    end_change(context, record, in_window);
    if (XCTX__UNLIKELY(leaves)) {
        xctx__map_free(copy);
        return set_slowly(var, value, ret_token, 0);
    }
    slot->root = copy;
    slot->pin_dropped++;
    if (ret_token)
        token_create(ret_token, var, map->words[id], slot, context);
    return 0;
}

/* Whatever put_quickly() did not take. */
static __attribute__((noinline)) int set_otherwise(xctx_var *var, void *value, xctx_token *ret_token)
{
    struct slot *slot = &xctx__slot;
    void *old;

    /* A variable without a number may be getting one now, on another thread, and its flags before it. */
    if (!slot->current || slot->follower || xctx__var_id(var) == XCTX__VAR_NO_ID)
        return set_slowly(var, value, ret_token, 0);
    if ((xctx__var_flags(var) & VAR_CELL_ONLY) == VAR_CELL)
        return set_counted(var, value, ret_token);
    if (xctx__var_id(var) >= slot->root->limit && put_in_place(slot, var, value, &old)) {
        if (ret_token)
            token_create(ret_token, var, old, slot, slot->current);
        return 0;
    }
    return set_copying(var, value, ret_token);
}

int xctx_var_set(xctx_var *var, void *value, xctx_token *ret_token)
{
    struct slot *slot = &xctx__slot;
    void *old;

    if (XCTX__UNLIKELY(!var || value == XCTX__ABSENT || (ret_token && !has_serial(slot)) ||
                       !put_quickly(slot, var, value, 0, &old)))
        return var && value != XCTX__ABSENT ? set_otherwise(var, value, ret_token) : -EINVAL;
    if (ret_token)
        token_init(ret_token, var, old, slot->current);
    return 0;
}

/* Puts the old word of a token that was checked back, in whatever map. */
static __attribute__((noinline)) int put_back_slowly(struct slot *slot, xctx_token *token, int lets)
{
    xctx_var *var = token->var_;
    struct entry entry = {.id = xctx__var_id(var),
                          .flags = token->old_ == XCTX__ABSENT ? 0 : xctx__var_map_flags(var),
                          .is_cell = xctx__var_flags(var) & VAR_CELL,
                          .word = token->old_};
    void *replaced;

    xctx__follow(slot);
    if (!slot->current || token->context_ != slot->current->serial)
        return -EXDEV;
    bool kept = token->state_ == TOKEN_KEPT;
    if (kept)
        xctx__cell_ref(token->old_);
    if (lets != 0 || !put_in_place(slot, var, entry.word, &replaced)) {
        int error = store(slot, slot->current, var, &entry, lets, &replaced);
        if (error) {
            if (kept)
                xctx__cell_unref(token->old_);
            return error;
        }
    }
    token->state_ = TOKEN_USED;
    if (kept)
        xctx__token_unkeep(slot, token);
    xctx__var_unref_word(var, replaced);
    if (lets == 0)
        xctx__follow_changed(slot);
    return 0;
}

static inline int put_back(struct slot *slot, xctx_token *token, int lets)
{
    void *replaced;

    if (XCTX__UNLIKELY(!put_quickly(slot, token->var_, token->old_, lets, &replaced)))
        return put_back_slowly(slot, token, lets);
    token->state_ = TOKEN_USED;
    return 0;
}

int xctx__var_unset(xctx_var *var)
{
    struct slot *slot = &xctx__slot;
    struct entry entry = {.id = var ? xctx__var_id(var) : XCTX__VAR_NO_ID, .word = XCTX__ABSENT};
    void *old;

    if (!var)
        return -EINVAL;
    xctx__follow(slot);
    if (xctx__map_get(xctx__slot_map(slot), entry.id) == XCTX__ABSENT)
        return 0;
    entry.is_cell = xctx__var_flags(var) & VAR_CELL;
    int error = store(slot, slot->current, var, &entry, 0, &old);
    if (error)
        return error;
    xctx__var_unref_word(var, old);
    xctx__follow_changed(slot);
    return 0;
}

int xctx_var_reset(xctx_var *var, xctx_token *token)
{
    struct slot *slot = &xctx__slot;

    if (XCTX__UNLIKELY(!token))
        return -EINVAL;
    if (XCTX__UNLIKELY(token->state_ == TOKEN_USED))
        return -EALREADY;
    if (XCTX__UNLIKELY((token->state_ != TOKEN_SET && token->state_ != TOKEN_KEPT) || token->var_ != var || !var))
        return -EINVAL;
    /* Another context is current; or, if the thread follows something, what is current is not known yet. */
    if (XCTX__UNLIKELY(!slot->current || token->context_ != slot->current->serial))
        return put_back_slowly(slot, token, 0);
    return put_back(slot, token, 0);
}

void xctx_token_drop(xctx_token *token)
{
    if (!token || (token->state_ != TOKEN_SET && token->state_ != TOKEN_KEPT))
        return;
    bool kept = token->state_ == TOKEN_KEPT;
    token->state_ = TOKEN_USED;
    if (kept)
        xctx__token_unkeep(&xctx__slot, token);
    else
        xctx__var_unref_word(token->var_, token->old_);
}

/* ---- scoped bindings ---- */

int xctx__let_set(xctx__let *let, xctx_var *var, void *value)
{
    struct slot *slot = &xctx__slot;
    void *old;

    if (XCTX__UNLIKELY(!var || value == XCTX__ABSENT || !has_serial(slot) || !put_quickly(slot, var, value, 1, &old)))
        return set_slowly(var, value, &let->token_, 1);
    token_init(&let->token_, var, old, slot->current);
    return 0;
}

static inline bool let_is_current(const struct slot *slot, const xctx__let *let)
{
    const xctx_context *context = slot->current;

    return context && context->serial == let->token_.context_ && context->lets > 0;
}

void xctx__let_reset(xctx__let *let)
{
    struct slot *slot = &xctx__slot;

    if (XCTX__LIKELY(let_is_current(slot, let)) && put_back(slot, &let->token_, -1) == 0)
        return;
    if (slot->follower && (let->token_.state_ == TOKEN_SET || let->token_.state_ == TOKEN_KEPT)) {
        xctx__follow(slot);
        if (let_is_current(slot, let) && put_back(slot, &let->token_, -1) == 0)
            return;
    }
    /* The block has left its context, or entered another one and not left it: there is nothing to undo here. */
    xctx_token_drop(&let->token_);
}
