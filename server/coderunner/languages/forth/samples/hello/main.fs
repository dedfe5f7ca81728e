." Hello, world!" cr
bye
