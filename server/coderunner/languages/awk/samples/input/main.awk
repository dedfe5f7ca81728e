BEGIN {
    printf "What is your name? "
}

{
    print "Hello, " $0 "!"
    exit
}
