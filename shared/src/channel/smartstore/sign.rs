//! The signature of a token request: bcrypt over the application's id and the time, with the application's secret as the salt.

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
    },
};
use bcrypt::Version;

/// A salt has 22 characters, which hold 132 bits; bcrypt uses 128 of them. Secrets have anything in the spare four.
const SALT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Signs with a secret such as `$2a$10$` and 22 characters.
pub(super) struct Signer {
    client_id: String,
    version: Version,
    cost: u32,
    salt: [u8; 16],
}

impl Signer {
    /// `None` if the secret is not a bcrypt salt.
    pub(super) fn new(client_id: String, secret: &str) -> Option<Self> {
        let mut parts = secret.strip_prefix('$')?.splitn(3, '$');
        let version = match parts.next()? {
            "2a" => Version::TwoA,
            "2b" => Version::TwoB,
            "2x" => Version::TwoX,
            "2y" => Version::TwoY,
            _ => return None,
        };
        let cost = parts
            .next()?
            .parse()
            .ok()
            .filter(|cost| (4..=31).contains(cost))?;
        let salt = SALT.decode(parts.next()?).ok()?.try_into().ok()?;
        Some(Self {
            client_id,
            version,
            cost,
            salt,
        })
    }

    /// Who signs.
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The signature for this moment, in milliseconds. `None` if bcrypt does not take the id.
    pub(super) fn sign(&self, millis: u64) -> Option<String> {
        let password = format!("{}_{millis}", self.client_id);
        let hash = bcrypt::hash_with_salt(password, self.cost, self.salt).ok()?;
        Some(STANDARD.encode(hash.format_for_version(self.version.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first vector is the one of apicenter.commerce.naver.com. Its secret ends in a `v` that a hash prints as `u`.
    #[test]
    fn signatures_are_the_documented_ones() {
        for (client_id, secret, millis, signature) in [
            (
                "aaaabbbbcccc",
                "$2a$10$abcdefghijklmnopqrstuv",
                1_643_961_623_299,
                "JDJhJDEwJGFiY2RlZmdoaWprbG1ub3BxcnN0dXVCVldZSk42T0VPdEx1OFY0cDQxa2IuTnpVaUEzbmsy",
            ),
            (
                "demo-app-id",
                "$2a$04$N9qo8uLOickgx2ZMRZoMye",
                1_767_225_600_000,
                "JDJhJDA0JE45cW84dUxPaWNrZ3gyWk1SWm9NeWVKNGxnZkdLSGRRdkpVN1U0R2c4WkdNcHdOcmI2TWVl",
            ),
        ] {
            let signer = Signer::new(client_id.to_owned(), secret).expect("a salt");
            assert_eq!(signer.sign(millis).as_deref(), Some(signature));
        }
    }

    #[test]
    fn a_secret_that_is_no_salt_is_told_at_once() {
        for secret in [
            "",
            "secret",
            "$2a$10$short",
            "$2a$xx$abcdefghijklmnopqrstuv",
            "$2a$99$abcdefghijklmnopqrstuv",
            "$3$10$abcdefghijklmnopqrstuv",
            "$2a$10$abcdefghijklmnopqrst+/",
        ] {
            assert!(Signer::new("id".to_owned(), secret).is_none(), "{secret}");
        }
    }
}
