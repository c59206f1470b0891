/** Fields that several rooms of the contract share. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import { Type } from 'typebox'

/** Hex of exactly `bytes` bytes as a request may spell it. */
export const looseHex = (bytes: number, description: string) =>
  textLike(`^(0[xX])?[0-9a-fA-F]{${bytes * 2}}$`, `0x and ${bytes * 2} hex digits (0x may be left out)`, description)

/** Hex of exactly `bytes` bytes as an answer spells it. */
export const strictHex = (bytes: number, description: string) =>
  textLike(`^0x[0-9a-f]{${bytes * 2}}$`, `0x and ${bytes * 2} lower-case hex digits`, description)

/** Hex of any length, as an answer spells it. */
export const anyHex = (description: string) =>
  textLike('^0x([0-9a-f]{2})+$', '0x and an even number of lower-case hex digits', description)

/** An address as an answer spells it. */
export const checksummedAddress = (description?: string) =>
  textLike('^0x[0-9a-fA-F]{40}$', '0x and 40 hex digits', description)

/** A whole number in a query. */
export const queryNumber = (pattern: string, from: number, to: number, description: string) =>
  textLike(pattern, `a whole number from ${from} to ${to}`, description)

/** A number in a query that an earlier answer gave. */
export const queryCursor = (mostDigits: number, field: string, description: string) =>
  textLike(`^[0-9]{1,${mostDigits}}$`, `the number that \`${field}\` of an earlier answer gave`, description)

/** An unsigned integer as text, as programs in Go write one. */
export const decimalText = (description: string) =>
  textLike('^(0|[1-9][0-9]{0,19})$', 'a whole number as text, in decimal digits', description)

/** Gwei as text: there may be more than JSON numbers carry. */
export const gweiText = (description?: string) => textLike('^[0-9]+$', 'a whole number of Gwei as text', description)

/** A whole number the wire can carry without loss. */
export const safeInteger = (minimum: number, description: string) =>
  Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, description })

export const validatorIndex = safeInteger(0, 'validator index the exit is made for')

export const shareReceipt = strictHex(32, 'receipt of the share set: the same wherever the same set was handed out')

/** Ours, beside the oracle shares of an item; existing operators ignore it. */
export const receiptOfItem = Type.Optional(Type.Union([shareReceipt, Type.Null()]))

/** An amount in Gwei. */
export const amountGwei = (minimum: number, description: string) => safeInteger(minimum, description)

export const vaultAddress = looseHex(20, 'address of the vault; in mixed case it must be checksummed (EIP-55)')

export const checksummedVault = checksummedAddress('address of the vault, checksummed')

export const epoch = safeInteger(0, 'epoch the exit is made for')
