IO.puts("never")
if true do
  IO.puts("unfinished")
