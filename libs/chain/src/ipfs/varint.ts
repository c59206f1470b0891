/** Numbers as IPFS writes them: seven bits a byte, the lowest first, the eighth says that more follow. */

/** More than the largest safe integer needs. */
const MOST_BYTES = 8

/** The number at a position, and where what follows it begins; undefined where there is none or it is no safe integer. */
export function readVarint(bytes: Uint8Array, at: number): { value: number; next: number } | undefined {
  let value = 0
  for (let i = 0; i < MOST_BYTES; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return undefined
    value += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return Number.isSafeInteger(value) ? { value, next: at + i + 1 } : undefined
  }
  return undefined
}
