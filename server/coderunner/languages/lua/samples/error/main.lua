local function third(list)
  return list[3].name
end

print("before")
print(third({ 1, 2 }))
print("never")
