        global  main
        extern  printf

        section .text
main:   push    rbx
        push    rbp
        sub     rsp, 8
        mov     rbx, rsi                ; argv
        mov     ebp, 1
next:   mov     rdx, [rbx + rbp * 8]
        test    rdx, rdx
        jz      done
        mov     edi, format
        mov     esi, ebp
        xor     eax, eax
        call    printf
        inc     ebp
        jmp     next
done:   xor     eax, eax
        add     rsp, 8
        pop     rbp
        pop     rbx
        ret

        section .rodata
format: db      "%d %s", 10, 0
