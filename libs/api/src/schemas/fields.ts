/** Fields that several rooms of the contract share. */

import { Type } from 'typebox'

/** Hex of exactly `bytes` bytes as a request may spell it. */
export const looseHex = (bytes: number, description: string) =>
  Type.String({ pattern: `^(0[xX])?[0-9a-fA-F]{${bytes * 2}}$`, description })

/** Hex of exactly `bytes` bytes as an answer spells it. */
export const strictHex = (bytes: number, description: string) =>
  Type.String({ pattern: `^0x[0-9a-f]{${bytes * 2}}$`, description })

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

export const checksummedVault = Type.String({
  pattern: '^0x[0-9a-fA-F]{40}$',
  description: 'address of the vault, checksummed',
})

export const epoch = safeInteger(0, 'epoch the exit is made for')
