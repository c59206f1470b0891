import * as probe from '../../verify/src/cli.ts'

export const value = probe
