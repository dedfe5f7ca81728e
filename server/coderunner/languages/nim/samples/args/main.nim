import os

for number, argument in commandLineParams():
  echo number + 1, " ", argument
