echo "before"
let numbers: seq[int] = @[]
echo numbers[3]
