// SPDX-License-Identifier: MIT
// The C++ library: strings, containers, lambdas in algorithms, exceptions, smart pointers, threads.
#include "judge.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using Row = std::pair<std::string, int>;

static void sort_rows(std::vector<Row> &rows)
{
    int compared = 0;
    std::sort(rows.begin(), rows.end(), [&compared](const Row &a, const Row &b) {
        compared++;
        bool before = a.second < b.second;
        if (a.second == 3 && b.second == 2)
            judge_here("sort-lambda");
        return before;
    });
    judge_here("sorted");
}

static std::size_t strings(const std::string &given)
{
    std::string empty, small = "small", large(40, 'L'), copy = given;
    std::string_view view(large.data(), 5);
    small += copy.substr(0, 3);
    std::size_t at = small.find('l');
    judge_here("strings");
    judge_touch(&empty), judge_touch(&small), judge_touch(&view);
    return at + large.size();
}

struct Guard {
    const char *name;
    explicit Guard(const char *n) : name(n)
    {
    }
    ~Guard()
    {
        judge_here("unwinding");
    }
};

static int risky(int depth)
{
    Guard guard(depth ? "outer" : "inner");
    if (depth == 0)
        throw std::runtime_error("thrown at the bottom");
    int below = risky(depth - 1);
    judge_touch(&guard);
    return below + depth;
}

static int catching(int depth)
{
    try {
        return risky(depth);
    } catch (const std::exception &error) {
        const char *what = error.what();
        judge_here("caught");
        judge_touch(what);
        return -1;
    }
}

struct Node {
    int value;
    std::unique_ptr<Node> next;
    std::shared_ptr<int> shared;
};

static int pointers()
{
    auto shared = std::make_shared<int>(7);
    auto head = std::make_unique<Node>(Node{1, std::make_unique<Node>(Node{2, nullptr, shared}), shared});
    std::weak_ptr<int> weak = shared;
    int sum = 0;
    for (const Node *node = head.get(); node; node = node->next.get())
        sum += node->value + *node->shared;
    judge_here("pointers");
    return sum + static_cast<int>(weak.use_count());
}

static int containers()
{
    std::array<int, 4> fixed{4, 3, 2, 1};
    std::map<std::string, int> map{{"a", 1}, {"b", 2}};
    std::vector<bool> bits{true, false, true};
    std::tuple<int, char, double> tuple{1, 't', 2.5};
    std::optional<int> some = 5, none;
    auto [first, second, third] = tuple;
    int total = std::accumulate(fixed.begin(), fixed.end(), 0, [](int sum, int value) {
        int next = sum + value;
        if (value == 1)
            judge_here("accumulate");
        return next;
    });
    for (const auto &[key, value] : map)
        total += value + static_cast<int>(key.size());
    judge_here("containers");
    judge_touch(&bits), judge_touch(&some), judge_touch(&none);
    return total + first + second + static_cast<int>(third);
}

static int call(const std::function<int(int)> &function, int argument)
{
    int result = function(argument);
    judge_here("function");
    return result;
}

static int closures(int base)
{
    std::string text = "captured";
    auto by_copy = [base, text](int x) {
        int sum = base + x + static_cast<int>(text.size());
        judge_here("by-copy");
        return sum;
    };
    auto generic = [&](auto x, auto y) mutable {
        base++;
        auto both = x + static_cast<decltype(x)>(y);
        judge_here("generic");
        return both;
    };
    return call(by_copy, 3) + static_cast<int>(generic(1.5, 2)) + generic(1, 'c');
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    std::vector<Row> rows{{"three", 3}, {"one", 1}, {"two", 2}, {"five and more than fits", 5}};
    sort_rows(rows);
    std::size_t total = strings("given");
    int caught = catching(2);
    total += static_cast<std::size_t>(pointers() + containers() + closures(argc));
    std::thread thread(
        [&](const std::string &name, int number) {
            int local = number * 2;
            judge_here("thread");
            total += name.size() + static_cast<std::size_t>(local);
        },
        "by name", 4);
    thread.join();
    judge_here("end");
    return caught + static_cast<int>(total) == 0;
}
