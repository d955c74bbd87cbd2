// SPDX-License-Identifier: MIT
// Classes: inheritance of every kind, templates, references, members of all sorts, namespaces, operators.
#include "judge.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace shapes {

enum class Unit : std::uint8_t { Metre, Inch = 3 };
enum Style { Solid = 1, Dashed = 2, Filled = 4 };

struct Point {
    double x = 0, y = 0;
    Point operator+(const Point &other) const
    {
        Point sum{x + other.x, y + other.y};
        judge_here("operator");
        return sum;
    }
};

class Shape {
  public:
    explicit Shape(const char *name) : name_(name)
    {
        count++;
    }
    Shape(const Shape &) = default;
    virtual ~Shape()
    {
        count--;
    }
    virtual double area() const = 0;
    virtual void grow(double &factor)
    {
        factor *= 2;
        judge_here("base-grow");
    }
    static int count;

  protected:
    const char *name_;
    Unit unit_ = Unit::Inch;
    Style style_ = static_cast<Style>(Solid | Filled);
};

int Shape::count = 0;

class Circle : public Shape {
  public:
    Circle(Point centre, double radius) : Shape("circle"), centre_(centre), radius_(radius)
    {
    }
    double area() const override
    {
        const double pi = std::acos(-1.0);
        double result = pi * radius_ * radius_;
        judge_here("circle-area");
        return result;
    }

  private:
    Point centre_;
    double radius_;
};

struct Tagged {
    int tag = 9;
    virtual ~Tagged() = default;
    virtual int label(int plus)
    {
        int sum = tag + plus;
        judge_here("label");
        return sum;
    }
};

struct Square final : Shape, Tagged {
    explicit Square(double side) : Shape("square"), side(side)
    {
    }
    double area() const override
    {
        return side * side;
    }
    int label(int plus) override
    {
        int mine = Tagged::label(plus) + static_cast<int>(side);
        judge_here("square-label");
        return mine;
    }
    void grow(double &factor) override
    {
        Shape::grow(factor);
        side *= factor;
        judge_here("square-grow");
    }
    double side;
};

} // namespace shapes

struct Root {
    int root = 1;
};
struct Left : virtual Root {
    int left = 2;
};
struct Right : virtual Root {
    int right = 3;
};
struct Diamond : Left, Right {
    int bottom = 4;
};

template <typename T, int N> class Ring {
  public:
    void push(const T &value)
    {
        items_[at_] = value;
        at_ = (at_ + 1) % N;
        if (at_ == 0)
            judge_here("ring-push");
    }
    template <typename F> T reduce(F &&each, T start) const
    {
        T state = start;
        for (const T &item : items_)
            state = each(state, item);
        judge_here("ring-reduce");
        return state;
    }

  private:
    T items_[N] = {};
    int at_ = 0;
};

template <typename T> static const T &larger(const T &a, const T &b)
{
    const T &result = a < b ? b : a;
    judge_here("larger");
    return result;
}

template <typename... Ts> static int total(Ts... values)
{
    int list[] = {static_cast<int>(values)...};
    int sum = 0;
    for (int value : list)
        sum += value;
    judge_here("total");
    return sum;
}

class Account {
  public:
    int deposit(int amount)
    {
        balance_ += amount;
        judge_here("deposit");
        return balance_;
    }
    int withdraw(int amount)
    {
        last_.amount = -amount;
        return balance_ -= amount;
    }

  private:
    struct Entry {
        int amount;
        bool done : 1;
        unsigned kind : 7;
    } last_{5, true, 3};
    int balance_ = 100;
};

namespace {
struct Hidden {
    static constexpr int limit = 12;
    int value;
};
} // namespace

static int members(Account &account, int (Account::*how)(int), int Root::*field, Root &root)
{
    int a = (account.*how)(7), b = root.*field;
    judge_here("members");
    return a + b;
}

static double sum_areas(const shapes::Shape *const *list, std::size_t count)
{
    double sum = 0;
    for (std::size_t i = 0; i < count; i++) {
        const shapes::Shape &shape = *list[i];
        sum += shape.area();
    }
    judge_here("areas");
    return sum;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    shapes::Point a{1, 2}, b{3, static_cast<double>(argc)};
    shapes::Point c = a + b;
    shapes::Circle circle(c, 2);
    shapes::Square square(3);
    const shapes::Shape *list[] = {&circle, &square};
    double areas = sum_areas(list, 2), factor = 1.5;
    shapes::Shape &as_shape = square;
    as_shape.grow(factor);
    shapes::Tagged *tagged = &square;
    int label = tagged->label(1);
    Diamond diamond;
    Root &root = diamond;
    Ring<int, 4> ring;
    for (int i = 0; i < 5; i++)
        ring.push(i * i);
    int reduced = ring.reduce([argc](int x, int y) { return x * argc + y; }, 1);
    Ring<const char *, 2> words;
    words.push("w0");
    words.push("w1");
    int &&temporary = total(1, 2.5, 'c', true);
    double big = larger(areas, factor);
    Account account;
    int paid = members(account, &Account::deposit, &Root::root, root);
    Hidden hidden{Hidden::limit};
    int (Account::*method)(int) = &Account::withdraw;
    std::nullptr_t null = nullptr;
    char16_t wide = u'w';
    judge_here("end");
    judge_touch(&diamond), judge_touch(&ring), judge_touch(&words), judge_touch(&hidden), judge_touch(&method);
    judge_touch(&null), judge_touch(&wide), judge_touch(&temporary);
    return label + reduced + paid + static_cast<int>(big) == 0;
}
