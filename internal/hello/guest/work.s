# What the guest does besides waiting.

	.text
# greet prints the greeting and what there is.
greet:
	mov esi, offset greet_text
	call put_text

	mov esi, offset memory_text
	call put_text
	movzx ecx, byte ptr [r15 + 0x1e8] # e820_entries
	lea rdi, [r15 + 0x2d0] # e820_table: address, size, type
	xor eax, eax
	jrcxz 3f
1:	cmp dword ptr [rdi + 16], 1 # usable
	jne 2f
	add rax, [rdi + 8]
2:	add rdi, 20
	loop 1b
3:	add rax, 0xfffff # the firmware's hole below 1 MiB is less than a MiB
	shr rax, 20
	call put_number
	mov esi, offset mib_text
	call put_text

	call count_vcpus
	test eax, eax
	jz 4f
	mov esi, offset vcpus_text
	push rax
	call put_text
	pop rax
	call put_number
	call put_line

4:	mov esi, offset args_text
	call put_text
	mov esi, [r15 + 0x228] # cmd_line_ptr
	test esi, esi
	jz 5f
	call put_text
5:	jmp put_line

# count_vcpus counts the processors in the MP table into eax: 0 without a table.
count_vcpus:
	xor eax, eax
	mov ebx, 0x9fc00 # where Firecracker puts it
	cmp dword ptr [rbx], 0x5f504d5f # "_MP_"
	jne 9f
	mov ebx, [rbx + 4]
	movzx ecx, word ptr [rbx + 34] # entries, processors first
	add ebx, 44
	jrcxz 9f
1:	cmp byte ptr [rbx], 0
	jne 9f
	inc eax
	add ebx, 20
	loop 1b
9:	ret

# touch writes to each page of touch_mib MiB, from 2 MiB on, as far as there is memory in the first GiB (no more is mapped).
touch:
	mov edi, 0x200000
	call last_page
	mov rcx, [touch_mib]
	mov edx, 1024
	cmp rcx, rdx
	cmova rcx, rdx
	shl rcx, 20
	add rcx, rdi
	cmp rcx, rax
	cmova rcx, rax
	mov rax, rcx
1:	cmp rdi, rcx
	jae 2f
	mov byte ptr [rdi], 0xa5
	add rdi, 4096
	jmp 1b
2:	sub rax, 0x200000
	shr rax, 20
	mov esi, offset touch_text
	push rax
	call put_text
	pop rax
	call put_number
	mov esi, offset mib_text
	jmp put_text

# last_page returns in rax where the memory that holds this image ends, at most 1 GiB. It keeps rdi.
last_page:
	movzx edx, byte ptr [r15 + 0x1e8]
	lea rbx, [r15 + 0x2d0]
1:	mov rax, [rbx]
	add rax, [rbx + 8]
	cmp dword ptr [rbx + 16], 1 # RAM; since v1.13 what is reserved above comes first
	jne 3f
	cmp rax, offset image_end
	ja 2f
3:	add rbx, 20
	dec edx
	jnz 1b
2:	cmp rax, 1<<30
	jbe 9f
	mov eax, 1<<30
9:	ret

# spin runs spin_loops times over two instructions, aligned as in SpinHost's loop. Where KVM emulates kernel code instead of running it,
# as kvm_pvm does with a guest that is not made for it, an instruction takes most of a microsecond.
spin:
	mov esi, offset spin_start_text
	call put_text
	mov rcx, [spin_loops]
	test rcx, rcx
	jz 2f
	.balign 32, 0x90
1:	dec rcx
	jnz 1b
2:	mov esi, offset spin_end_text
	jmp put_text

# crash makes the invalid instruction's exception find no handler, nor the next, nor the third.
crash:
	mov esi, offset crash_text
	call put_text
	lidt [no_idt]
	ud2

hang:
	mov esi, offset hang_text
	call put_text
1:	pause
	jmp 1b

flood:
	mov esi, offset flood_text
	call put_text
	inc qword ptr [floods]
	mov rax, [floods]
	call put_number
	call put_line
	call poll_keyboard
	jmp flood

	.data
touch_mib: .quad 0
spin_loops: .quad 0
floods:	.quad 0
no_idt:	.short 0
	.quad 0
greet_text: .asciz "Hello from a Firecracker microVM\r\n"
memory_text: .asciz "memory: "
mib_text: .asciz " MiB\r\n"
vcpus_text: .asciz "vcpus: "
args_text: .asciz "boot args: "
touch_text: .asciz "touched "
spin_start_text: .asciz "spin start\r\n"
spin_end_text: .asciz "spin end\r\n"
crash_text: .asciz "crash\r\n"
hang_text: .asciz "hang\r\n"
flood_text: .asciz "flood: a line to fill the log of the serial console, number "
