numbers = [1, 2, 3]
print(numbers[0])
print(numbers[3])
