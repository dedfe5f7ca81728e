BEGIN {
    print "before"
    print 1 / count
    print "never"
}
