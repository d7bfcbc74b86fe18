//! What the environment says to the SDK, as far as its text shows that it cannot be meant. The SDK itself tells of it only by requests that
//! do not get through, as of a network that is down.

use super::Refusal;
use crate::config::Environment;

/// Variables that are an endpoint's URL.
const ENDPOINTS: [&str; 3] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_DYNAMODB",
];

/// Variables with which credentials come from elsewhere than a profile.
const OTHER_CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The SDK's variables as they were found.
#[derive(Clone, Debug)]
pub struct AwsEnvironment(Environment);

impl AwsEnvironment {
    /// From the environment.
    pub fn new(environment: Environment) -> Self {
        Self(environment)
    }

    /// Looks at the endpoints.
    ///
    /// # Errors
    /// A [`Refusal`] for one that is no URL.
    pub fn check_endpoints(&self) -> Result<(), Refusal> {
        for variable in ENDPOINTS {
            let Some(url) = self.0.get(variable) else {
                continue;
            };
            let host = url.split_once("://").map(|(scheme, host)| match scheme {
                "http" | "https" => host,
                _ => "",
            });
            if host.is_none_or(str::is_empty) {
                return Err(Refusal::new(
                    format!("{variable}={url} is not a URL"),
                    "write it with http:// or https:// before host and port, or unset it",
                ));
            }
        }
        Ok(())
    }

    /// The profile that must be there: it is named, and no other credentials are. (`default` is what the SDK would take anyway, with or without it.)
    pub fn needed_profile(&self) -> Option<&str> {
        let others = OTHER_CREDENTIALS.iter().any(|v| self.0.get(v).is_some());
        let named = self.0.get("AWS_PROFILE");
        named.filter(|name| !others && *name != "default")
    }

    /// Looks at the region that the SDK has found.
    ///
    /// # Errors
    /// A [`Refusal`] for one that AWS cannot have; in front of endpoints of others any name will do that may stand in a request.
    pub fn check_region(&self, region: &str) -> Result<(), Refusal> {
        let named = |variable: &&str| self.0.get(variable) == Some(region);
        let place = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .into_iter()
            .find(|variable| named(variable));
        let own = self.0.get(ENDPOINTS[0]).is_some()
            || ENDPOINTS[1..].iter().all(|v| self.0.get(v).is_some());
        if own && is_label(region) || is_region(region) {
            return Ok(());
        }
        let what = match place {
            Some(variable) => format!("{variable}={region} is not a region of AWS"),
            None => format!("{region}, the region of the AWS profile, is not one of AWS"),
        };
        Err(Refusal::new(
            what,
            "set AWS_REGION to one such as ap-northeast-2",
        ))
    }
}

/// A label of a host's name (RFC 1123, 2.1): the SDK puts the region into one.
fn is_label(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// `ap-northeast-2`, `us-gov-west-1`: words and a number (AWS General Reference, "Service endpoints").
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
    let Some((number, words)) = parts.split_last() else {
        return false;
    };
    words.len() >= 2
        && words.iter().all(word)
        && (1..=2).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> AwsEnvironment {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        AwsEnvironment::new(owned.collect())
    }

    #[test]
    fn an_endpoint_has_a_scheme_and_a_host() {
        for good in ["http://127.0.0.1:9324", "https://sqs.example.org/path", ""] {
            let found = environment(&[("AWS_ENDPOINT_URL_SQS", good)]).check_endpoints();
            assert_eq!(found, Ok(()), "{good}");
        }
        for (variable, wrong) in [
            ("AWS_ENDPOINT_URL", "localhost:9324"),
            ("AWS_ENDPOINT_URL_SQS", "http://"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "ftp://host"),
        ] {
            let refused = environment(&[(variable, wrong)]).check_endpoints();
            assert_eq!(
                refused.map_err(|r| r.to_string()),
                Err(format!(
                    "{variable}={wrong} is not a URL: write it with http:// or https:// before host and port, or unset it"
                ))
            );
        }
    }

    #[test]
    fn a_region_is_one_that_aws_can_have() {
        let plain = environment(&[("AWS_REGION", "us east 1")]);
        for good in [
            "us-east-1",
            "ap-northeast-2",
            "us-gov-west-1",
            "us-isob-east-1",
            "eusc-de-east-1",
        ] {
            assert_eq!(plain.check_region(good), Ok(()), "{good}");
        }
        for wrong in [
            "us east 1",
            "us-east-1a",
            "nosuch-1",
            "us_east_1",
            "us-east-",
            "local",
        ] {
            assert!(plain.check_region(wrong).is_err(), "{wrong}");
        }
        let words = |e: &AwsEnvironment, region| e.check_region(region).unwrap_err().to_string();
        assert_eq!(
            words(&plain, "us east 1"),
            "AWS_REGION=us east 1 is not a region of AWS: set AWS_REGION to one such as ap-northeast-2"
        );
        assert!(words(&plain, "mars").starts_with("mars, the region of the AWS profile,"));
        // Endpoints of others take any name.
        let both = environment(&[
            ("AWS_ENDPOINT_URL_SQS", "http://a"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://b"),
        ]);
        assert_eq!(both.check_region("local"), Ok(()));
        assert!(both.check_region("us east 1").is_err());
        let one = environment(&[("AWS_ENDPOINT_URL_SQS", "http://a")]);
        assert!(one.check_region("local").is_err());
    }

    #[test]
    fn a_profile_is_needed_where_nothing_else_is_named() {
        let profile = ("AWS_PROFILE", "work");
        assert_eq!(environment(&[profile]).needed_profile(), Some("work"));
        assert_eq!(environment(&[]).needed_profile(), None);
        assert_eq!(
            environment(&[("AWS_PROFILE", "default")]).needed_profile(),
            None
        );
        for other in OTHER_CREDENTIALS {
            let both = environment(&[profile, (other, "x")]);
            assert_eq!(both.needed_profile(), None, "{other}");
        }
    }
}
