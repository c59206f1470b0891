/**
 * The shapes on the wire, both directions, as one set of schemas: the relayer's routes, the OpenAPI document, the sidecar's
 * client and the tests all use these.
 *
 * Requests: hex in any letter case, with or without `0x`. Answers: lower case with `0x`, except where a request's spelling is
 * echoed. Numbers are JSON integers up to 2^53 − 1.
 */

export * from './schemas/errors.ts'
export * from './schemas/exits.ts'
export * from './schemas/explain.ts'
export * from './schemas/lists.ts'
export * from './schemas/obol/beacon.ts'
export * from './schemas/obol/charon.ts'
export * from './schemas/operations.ts'
export * from './schemas/oracles.ts'
export * from './schemas/registrations.ts'
export * from './schemas/rotation.ts'
export * from './schemas/signatures.ts'
export * from './schemas/status.ts'
export * from './schemas/vaults.ts'
