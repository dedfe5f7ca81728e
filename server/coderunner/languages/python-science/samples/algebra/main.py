from sympy import diff, integrate, pprint, sin, solve, symbols

x = symbols("x")
print(diff(x**2 * sin(x), x))
print(solve(x**2 - x - 6, x))
pprint(integrate(1 / (1 + x**2), x))
