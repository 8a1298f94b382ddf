# Interrupts, timer and keyboard, the way a PC of 1990 had them: two 8259 (PIC), an 8254 (PIT), an 8042. KVM emulates the first two
# in the kernel, Firecracker the third. A paravirtual KVM (kvm_pvm) delivers them through the IDT as well; measured there on
# Linux 6.18, so nothing more modern is needed, and no page table for the APIC's registers at 0xfee00000.

	.set VECTOR, 0x20 # of IRQ 0
	.set PIT_KHZ, 1193

	.text
# open_interrupts lets in the IRQs that the flags ask for: 0 timer, 1 keyboard, 4 serial port.
open_interrupts:
	mov edi, offset idt + VECTOR * 16
	mov ebx, 16
1:	mov eax, offset on_irq
	stosw # offset 15..0
	mov eax, 0x8e000008 # code segment, present interrupt gate
	stosd
	mov eax, offset on_irq
	shr eax, 16
	stosw # offset 31..16
	xor eax, eax
	stosq
	dec ebx
	jnz 1b
	lidt [idtr]

	mov al, 0x11 # edge triggered, cascaded, four command words
	out 0x20, al
	out 0xa0, al
	mov al, VECTOR
	out 0x21, al
	mov al, VECTOR + 8
	out 0xa1, al
	mov al, 4 # the second PIC is at IRQ 2
	out 0x21, al
	mov al, 2
	out 0xa1, al
	mov al, 3 # 8086 mode, automatic end of interrupt: the handler has nothing to say
	out 0x21, al
	out 0xa1, al
	mov al, 0xff
	out 0xa1, al

	mov al, 0xfd # only the keyboard
	bt dword ptr [flags], COUNT
	jnc 2f
	call start_timer
	and al, 0xfe
2:	bt dword ptr [flags], ECHO
	jnc 3f
	push rax
	mov edx, SERIAL + 1
	mov al, 1 # an interrupt for received data
	out dx, al
	pop rax
	and al, 0xef
3:	out 0x21, al
	ret

on_irq:	iretq

# start_timer sets out for the first tick. It keeps rax.
start_timer:
	mov ecx, [count_ms]
	mov edx, 1
	test ecx, ecx
	cmovz ecx, edx
	mov [count_ms], ecx
	mov edx, 50 # the counter has 16 bits: 54 ms
	cmp ecx, edx
	cmova ecx, edx
	mov [tick_ms], ecx

# arm_timer starts one tick. A periodic timer would, after a pause of the machine, make up for each tick that was missed.
arm_timer:
	push rax
	mov al, 0x30 # channel 0, low byte and high byte, mode 0: one shot
	out 0x43, al
	imul eax, [tick_ms], PIT_KHZ
	out 0x40, al
	shr eax, 8
	out 0x40, al
	pop rax
	ret

# poll_tick prints the count if its time has come.
poll_tick:
	bt dword ptr [flags], COUNT
	jnc 9f
	mov al, 0xe2 # latch the status of channel 0
	out 0x43, al
	in al, 0x40
	test al, 0x80 # its output, which rises at the end of the shot
	jz 9f
	call arm_timer
	mov eax, [tick_ms]
	add eax, [elapsed_ms]
	mov [elapsed_ms], eax
	sub eax, [count_ms]
	jb 9f
	mov [elapsed_ms], eax
	mov esi, offset count_text
	call put_text
	inc qword ptr [count]
	mov rax, [count]
	call put_number
	call put_line
9:	ret

# poll_keyboard leaves on Ctrl+Alt+Del: the codes 0x14, 0x11 and 0xe0 0x71, the only ones that Firecracker sends.
poll_keyboard:
	in al, 0x64
	test al, 1
	jz 9f
	in al, 0x60
	cmp al, 0x71
	je leave
	jmp poll_keyboard
9:	ret

	.data
count_ms: .quad 100
tick_ms: .long 0
elapsed_ms: .long 0
count:	.quad 0
count_text: .asciz "count "
	.balign 16
idtr:	.short 16 * (VECTOR + 16) - 1
	.quad idt
	.balign 16
idt:	.fill 16 * (VECTOR + 16), 1, 0
