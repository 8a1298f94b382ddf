# The words of the kernel command line.

# An entry of the table: the length of the word, its flag, where its number goes (0: it takes none), the word itself.
	.macro word flag, value, text
	.byte 2f - 1f, \flag
	.long \value
1:	.ascii "\text"
2:
	.endm

	.data
words:
	word EXIT, 0, hello.exit
	word STAY, 0, hello.stay
	word COUNT, count_ms, hello.count
	word ECHO, 0, hello.echo
	word MARK, 0, hello.mark
	word TOUCH, touch_mib, hello.touch
	word SPIN, spin_loops, hello.spin
	word CRASH, 0, hello.crash
	word HANG, 0, hello.hang
	word FLOOD, 0, hello.flood
	.byte 0

	.text
# parse_args sets flags and numbers from the command line.
parse_args:
	mov esi, [r15 + 0x228] # cmd_line_ptr
	test esi, esi
	jz 9f
1:	lodsb # to the start of a word
	cmp al, ' '
	je 1b
	test al, al
	jz 9f
	dec rsi
	call parse_word
2:	lodsb # to its end
	cmp al, ' '
	je 1b
	test al, al
	jnz 2b
9:	ret

# parse_word compares the word at rsi with the table. It keeps rsi.
parse_word:
	mov ebx, offset words
1:	movzx ecx, byte ptr [rbx]
	jrcxz 9f
	mov rdx, rsi
	lea rdi, [rbx + 6]
	repe cmpsb
	jne 3f
	mov al, [rsi] # what follows the name
	test al, al
	jz 2f
	cmp al, ' '
	je 2f
	cmp al, '='
	jne 3f
	mov edi, [rbx + 2]
	test edi, edi
	jz 3f
	inc rsi
	call parse_number
	mov [rdi], rax
2:	movzx eax, byte ptr [rbx + 1]
	bts [flags], eax
	mov rsi, rdx
9:	ret
3:	mov rsi, rdx
	movzx eax, byte ptr [rbx]
	lea rbx, [rbx + rax + 6]
	jmp 1b

# parse_number reads decimal digits at rsi into rax.
parse_number:
	xor eax, eax
1:	movzx ecx, byte ptr [rsi]
	sub ecx, '0'
	cmp ecx, 9
	ja 9f
	imul rax, rax, 10
	add rax, rcx
	inc rsi
	jmp 1b
9:	ret
