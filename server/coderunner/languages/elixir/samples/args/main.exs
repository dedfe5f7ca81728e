System.argv()
|> Enum.with_index(1)
|> Enum.each(fn {argument, number} -> IO.puts("#{number} #{argument}") end)
