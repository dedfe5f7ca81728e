        global  main
        extern  printf

        section .text
main:   push    rbx
        mov     rbx, words
next:   mov     rsi, [rbx]
        test    rsi, rsi
        jz      done
        xor     edx, edx                ; characters so far
        mov     rcx, rsi
.byte:  mov     al, [rcx]
        inc     rcx
        test    al, al
        jz      .told
        and     al, 0xC0
        cmp     al, 0x80                ; all but a character's first byte begin with the bits 10
        je      .byte
        inc     edx
        jmp     .byte
.told:  mov     edi, format
        xor     eax, eax
        call    printf
        add     rbx, 8
        jmp     next
done:   xor     eax, eax
        pop     rbx
        ret

        section .data
words:  dq      first, second, third, fourth, 0

        section .rodata
first:  db      "Grüße", 0
second: db      "Привет", 0
third:  db      "こんにちは", 0
fourth: db      "🙂", 0
format: db      "%s %d", 10, 0
