//! Stock, prices and sale of one option.

use serde_json::{Value, json};

use crate::{
    answer::Answer,
    call::Call,
    coupang::{
        Coupang, answers,
        items::{MAX_STOCK, PriceError},
    },
};

impl Coupang {
    pub(super) fn set_quantity(&mut self, item: &str, quantity: &str) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let quantity = quantity
            .parse()
            .ok()
            .filter(|quantity| *quantity <= MAX_STOCK)
            .ok_or_else(|| answers::bad("The quantity is not valid."))?;
        self.shelf.set_stock(id, quantity);
        Ok(answers::success("재고 변경을 완료했습니다.", None))
    }

    pub(super) fn set_price(
        &mut self,
        item: &str,
        price: &str,
        call: &Call,
    ) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let price = price
            .parse()
            .map_err(|_| answers::bad("The price is not valid."))?;
        let forced = call.parameter("forceSalePriceUpdate").as_deref() == Some("true");
        match self.shelf.set_price(id, price, forced) {
            Ok(()) => Ok(answers::success(
                "가격 변경을 완료했습니다.",
                Some(&Value::Null),
            )),
            Err(PriceError::Unit) => Err(answers::bad("The price must be a multiple of 10 won.")),
            Err(PriceError::Guard) => Err(answers::bad(&format!(
                "vendorItemId {id}: the price can change by -50% to +100% at a time."
            ))),
        }
    }

    pub(super) fn set_original_price(&mut self, item: &str, price: &str) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let price = price
            .parse()
            .ok()
            .filter(|price: &u64| price.is_multiple_of(10))
            .ok_or_else(|| answers::bad("The price must be a multiple of 10 won."))?;
        if let Some(item) = self.shelf.get_mut(id) {
            item.original_price = price;
        }
        Ok(answers::success(
            "할인율 기준가격을 변경했습니다.",
            Some(&Value::Null),
        ))
    }

    pub(super) fn set_on_sale(&mut self, item: &str, on_sale: bool) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        if let Some(item) = self.shelf.get_mut(id) {
            item.on_sale = on_sale;
        }
        Ok(answers::success(
            if on_sale {
                "판매 재개 처리를 완료했습니다."
            } else {
                "판매 중지 처리를 완료했습니다."
            },
            Some(&Value::Null),
        ))
    }

    pub(super) fn inventory(&self, item: &str) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let shown = self.shelf.get(id).map(|item| {
            json!({
                "sellerItemId": item.id,
                "amountInStock": item.stock,
                "salePrice": item.price,
                "onSale": item.on_sale,
            })
        });
        Ok(answers::success("", shown.as_ref()))
    }

    fn vendor_item(&self, item: &str) -> Result<u64, Answer> {
        item.parse()
            .ok()
            .filter(|id| self.shelf.get(*id).is_some())
            .ok_or_else(|| answers::bad(&format!("vendoritemid {item} not found")))
    }
}
