print("never")
if true then
  print("unfinished"
