# Interrupts, timer and keyboard. The keyboard is an 8042 and its interrupts come by two 8259 (PIC), the way a PC of 1990 had them;
# a paravirtual KVM (kvm_pvm) delivers them through the IDT as well, measured there on Linux 6.18.
#
# The timer is the local APIC's, whose registers are MSRs in x2APIC mode, so that none has to be mapped; KVM emulates them for every guest.
# The timer of 1990, the 8254 (PIT), would do but for snapshots: Firecracker restores it before the PIC, KVM starts it at once, and a shot
# that is over before the PIC's state is there is overwritten with it. KVM then waits for ever for its end of interrupt (seen on a busy
# host, once in a thousand restores).

	.set VECTOR, 0x20 # of IRQ 0
	.set TICK_VECTOR, VECTOR + 14 # of IRQs that stay masked
	.set SPURIOUS_VECTOR, VECTOR + 15
	.set NS_PER_MS, 1000000 # KVM counts nanoseconds

	.set APIC_BASE, 0x1b
	.set APIC_BASE_X2APIC, 0xc00 # enabled, in x2APIC mode
	.set APIC_EOI, 0x80b
	.set APIC_SPURIOUS, 0x80f
	.set APIC_ENABLED, 0x100
	.set APIC_TIMER, 0x832
	.set APIC_INITIAL_COUNT, 0x838
	.set APIC_CURRENT_COUNT, 0x839
	.set APIC_DIVIDE, 0x83e
	.set APIC_DIVIDE_BY_1, 0xb

	.text
# open_interrupts lets in the IRQs that the flags ask for: 1 keyboard, 4 serial port.
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
	push rax
	mov ecx, [count_ms]
	mov edx, 1
	test ecx, ecx
	cmovz ecx, edx
	mov [count_ms], ecx
	mov edx, 4000 # the counter has 32 bits: 4.29 s
	cmp ecx, edx
	cmova ecx, edx
	mov [tick_ms], ecx

	mov ecx, APIC_BASE
	rdmsr
	or eax, APIC_BASE_X2APIC
	wrmsr
	xor edx, edx
	mov ecx, APIC_SPURIOUS
	mov eax, APIC_ENABLED | SPURIOUS_VECTOR
	wrmsr
	mov ecx, APIC_DIVIDE
	mov eax, APIC_DIVIDE_BY_1
	wrmsr
	mov ecx, APIC_TIMER
	mov eax, TICK_VECTOR # one shot
	wrmsr
	call arm_timer
	pop rax
	ret

# arm_timer starts one tick. A periodic timer would, after a pause of the machine, make up for each tick that was missed.
arm_timer:
	imul eax, [tick_ms], NS_PER_MS
	xor edx, edx
	mov ecx, APIC_INITIAL_COUNT
	wrmsr
	ret

# poll_tick prints the count if its time has come.
poll_tick:
	bt dword ptr [flags], COUNT
	jnc 9f
	xor eax, eax # also for a tick that was seen before its interrupt came
	xor edx, edx
	mov ecx, APIC_EOI
	wrmsr
	mov ecx, APIC_CURRENT_COUNT
	rdmsr
	test eax, eax # 0 at the end of the shot
	jnz 9f
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
