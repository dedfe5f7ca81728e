from shapes.circle import area

print(f"{area(2):.3f}")
