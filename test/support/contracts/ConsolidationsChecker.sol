// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

interface IOracles {
    function validatorsMinOracles() external view returns (uint256);

    function isOracle(address account) external view returns (bool);
}

/// How a vault learns that the oracles have approved a consolidation: for tests only.
///
/// The first signatures, as many as the Keeper needs for a registration, in ascending order of their oracles; what comes after them
/// is not looked at.
contract ConsolidationsChecker {
    error InvalidSignatures();

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant CONSOLIDATION_TYPE = keccak256("ConsolidationsChecker(address vault,bytes validators)");
    /// Half the order of secp256k1: of the two valid values of s only the lower one is taken.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    uint256 private constant SIGNATURE_LENGTH = 65;

    IOracles private immutable keeper;

    constructor(IOracles oracles) {
        keeper = oracles;
    }

    function verifySignatures(address vault, bytes calldata validators, bytes calldata signatures) external view {
        uint256 needed = keeper.validatorsMinOracles();
        require(needed > 0 && signatures.length >= needed * SIGNATURE_LENGTH, InvalidSignatures());
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, keccak256("ConsolidationsChecker"), keccak256("1"), block.chainid, address(this))
        );
        bytes32 content = keccak256(abi.encode(CONSOLIDATION_TYPE, vault, keccak256(validators)));
        bytes32 digest = keccak256(bytes.concat(hex"1901", domain, content));
        address last;
        for (uint256 i = 0; i < needed; i++) {
            bytes calldata signature = signatures[i * SIGNATURE_LENGTH:(i + 1) * SIGNATURE_LENGTH];
            bytes32 s = bytes32(signature[32:64]);
            // ecrecover gives 0 for a v other than 27 and 28, which is below every oracle.
            address signer = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), s);
            require(uint256(s) <= HALF_ORDER && signer > last && keeper.isOracle(signer), InvalidSignatures());
            last = signer;
        }
    }
}
