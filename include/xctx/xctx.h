/* SPDX-License-Identifier: MIT */
/**
 * @file xctx.h
 * Everything in libxctx.
 */
#ifndef XCTX_XCTX_H
#define XCTX_XCTX_H

#include <xctx/base.h>
#include <xctx/context.h>
#include <xctx/continuation.h>
#include <xctx/core.h>
#include <xctx/crash.h>
#include <xctx/fiber.h>
#include <xctx/follow.h>
#include <xctx/redact.h>
#include <xctx/snapshot.h>
#include <xctx/thread.h>
#include <xctx/var.h>

#endif
