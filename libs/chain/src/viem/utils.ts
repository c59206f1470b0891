/**
 * What is used of viem, by name, so that a bundle holds this and no more. To be imported at first use, as everywhere in this library: it takes a
 * quarter of a second.
 */

export {
  concatHex,
  decodeAbiParameters,
  decodeEventLog,
  encodeAbiParameters,
  encodeFunctionData,
  hashTypedData,
  keccak256,
  parseTransaction,
  serializeTransaction,
  toEventSelector,
  toFunctionSelector,
  toRlp,
} from 'viem/utils'
