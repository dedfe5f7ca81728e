        global  main
        extern  puts

        section .text
main:   sub     rsp, 8                  ; the stack is aligned to 16 bytes at a call
        mov     edi, message
        call    puts
        xor     eax, eax                ; the exit code
        add     rsp, 8
        ret

        section .rodata
message: db     "Hello, world!", 0
