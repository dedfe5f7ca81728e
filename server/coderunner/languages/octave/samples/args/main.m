arguments = argv();
for number = 1:numel(arguments)
  printf("%d %s\n", number, arguments{number});
end
