        global  main
        extern  printf, scanf, fflush

        section .text
main:   sub     rsp, 72
        mov     edi, question
        xor     eax, eax                ; no arguments in vector registers
        call    printf
        xor     edi, edi
        call    fflush
        mov     edi, format
        mov     rsi, rsp
        xor     eax, eax
        call    scanf
        mov     edi, answer
        mov     rsi, rsp
        xor     eax, eax
        call    printf
        xor     eax, eax
        add     rsp, 72
        ret

        section .rodata
question: db    "What is your name? ", 0
format: db      "%63s", 0
answer: db      "Hello, %s!", 10, 0
