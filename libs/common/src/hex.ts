/** Hex and bytes. Answers are lower case with `0x`; requests may leave `0x` out and use any letter case. */

const HEX = /^(?:0x|0X)?([0-9a-fA-F]*)$/

/** Lower-case hex of `bytes`, with `0x`. */
export function toHex(bytes: Uint8Array): `0x${string}` {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`
}

/**
 * Bytes of a hex text, with or without `0x`, in any letter case.
 *
 * @param length the number of bytes the text must have, any when left out
 * @returns undefined when the text is not hex or has another length
 */
export function parseHex(text: string, length?: number): Uint8Array | undefined {
  const digits = HEX.exec(text)?.[1]
  if (digits === undefined || digits.length % 2 !== 0) return undefined
  if (length !== undefined && digits.length !== length * 2) return undefined
  return new Uint8Array(Buffer.from(digits, 'hex'))
}

/** Bytes of a hex text that the caller knows to be well formed (a constant, a checked value). */
export function fromHex(text: string, length?: number): Uint8Array {
  const bytes = parseHex(text, length)
  if (bytes === undefined) throw new TypeError(`not hex${length === undefined ? '' : ` of ${length} bytes`}`)
  return bytes
}

/** Slices of equal length, in order. */
export function slices(bytes: Uint8Array, length: number): Uint8Array[] {
  return Array.from({ length: bytes.length / length }, (_, position) =>
    bytes.subarray(position * length, (position + 1) * length),
  )
}

/** Whether two byte strings are the same. Not for secrets: time depends on the place of the first difference. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
