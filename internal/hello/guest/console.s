# The serial console: a 16550 at 0x3f8. Firecracker takes a byte at a time (a string instruction would be dropped) and is
# always ready for one, so nothing waits here.

	.set SERIAL, 0x3f8
	.set LINE_MAX, 255

	.text
# put_char writes al. It keeps everything but edx.
put_char:
	mov edx, SERIAL
	out dx, al
	ret

# put_text writes the text at rsi up to its zero byte. It does not call put_char: to an emulated processor each instruction counts.
put_text:
	mov edx, SERIAL
1:	lodsb
	test al, al
	jz 9f
	out dx, al
	jmp 1b
9:	ret

# put_line ends a line as a Linux console does.
put_line:
	mov al, '\r'
	call put_char
	mov al, '\n'
	jmp put_char

# put_number writes rax in decimal.
put_number:
	mov ebx, 10
	xor ecx, ecx
1:	xor edx, edx
	div rbx
	push rdx
	inc ecx
	test rax, rax
	jnz 1b
2:	pop rax
	add al, '0'
	call put_char
	dec ecx
	jnz 2b
	ret

# poll_console collects input into a line and prints it at its end, or when there is no more room. The line "exit" leaves.
poll_console:
	bt dword ptr [flags], ECHO
	jnc 9f
1:	mov edx, SERIAL + 5 # line status
	in al, dx
	test al, 1
	jz 9f
	mov edx, SERIAL
	in al, dx
	cmp al, '\r'
	je 2f
	cmp al, '\n'
	je 2f
	mov ecx, [line_len]
	mov [line + rcx], al
	inc ecx
	mov [line_len], ecx
	cmp ecx, LINE_MAX
	jb 1b
2:	call put_echo
	jmp 1b
9:	ret

# put_echo prints the collected line and forgets it. An empty line is the second half of \r\n, or nothing worth saying.
put_echo:
	mov ecx, [line_len]
	jrcxz 9f
	mov byte ptr [line + rcx], 0
	mov dword ptr [line_len], 0
	cmp ecx, 4
	jne 1f
	cmp dword ptr [line], 0x74697865 # "exit"
	je leave
1:	mov esi, offset line
	call put_text
	jmp put_line
9:	ret

	.data
line_len: .long 0
line:	.fill LINE_MAX + 1, 1, 0
