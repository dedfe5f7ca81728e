set number 0
foreach argument $argv {
    incr number
    puts "$number $argument"
}
