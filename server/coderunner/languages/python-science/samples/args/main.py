import sys

for number, argument in enumerate(sys.argv[1:], start=1):
    print(number, argument)
