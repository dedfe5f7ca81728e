IO.puts("before")
IO.puts(Enum.fetch!([1, 2], 2))
IO.puts("never")
