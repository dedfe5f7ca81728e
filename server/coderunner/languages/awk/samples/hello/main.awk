BEGIN {
    print "Hello, world!"
}
