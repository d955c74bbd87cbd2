-- SPDX-License-Identifier: MIT
-- What wrk asks http_server for: each request with an id of its own, which has to come back once. One in four changes
-- threads on the way.

local threads = {}

function setup(thread)
    thread:set("number", #threads)
    table.insert(threads, thread)
end

function init()
    sent, answered, wrong = 0, 0, 0
    open = {}
end

function request()
    sent = sent + 1
    local id = "w" .. number .. "-" .. sent
    open[id] = true
    return wrk.format("GET", sent % 4 == 0 and "/hop" or "/", {["X-Request-Id"] = id})
end

function response(status, headers, body)
    local id = headers["X-Request-Id"]
    local right = body:sub(1, 12) == "from thread " or body:find(", this is request " .. id .. "\n", 1, true)
    if status ~= 200 or not open[id] or not right then
        wrong = wrong + 1
    end
    open[id] = nil
    answered = answered + 1
end

function done(summary)
    local all, bad = 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("answered")
        bad = bad + thread:get("wrong")
    end
    local errors = summary.errors
    bad = bad + errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("%d responses, %d wrong, %.0f requests/s\n", all, bad, all / summary.duration * 1e6))
end
